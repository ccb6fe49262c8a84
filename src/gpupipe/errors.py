"""Every error that gpupipe raises on purpose, as one tree.

    GpupipeError
     |- UsageError              the command line asks for something that cannot be        exit 2
     |   `- InputError          an input file, folder or prompt is not usable
     |       `- UploadError     an input could not be read to its end, or changed meanwhile exit 1
     |- ConfigError             gpupipe.toml is missing, malformed or contradictory       exit 2
     |- CredentialsError        no usable AWS credentials, region or account
     |- AwsError                AWS refused or failed a call: action, thing, cause, remedy
     |   `- PermissionDeniedError
     |- NotOursError            a thing of that name exists and does not belong to this stack
     |- DataProtectedError      this would lose data, and nobody said that it may
     |- LockedError             another `up` or `down` holds the stack's lock
     |   `- LockLostError       somebody took the lock over while this command stood still
     |- StalePlanError          the stack was changed after the plan was made
     |- ApplyError              some steps of a plan failed; the others were done
     |- StoppedError            Ctrl-C: no further call is made                             exit 130
     |- TargetError             the local target cannot start, answer or stop
     |   `- ForeignFolderError  its folder was made by somebody else, or elsewhere
     |- NotDeployedError        the stack is not there yet: `gpupipe up` first
     |- JobError                a job is unknown, unfinished, or cannot take what was asked
     |- InvocationError         an endpoint gave no answer to one request, or refused it
     `- IntegrityError          what was read back is not what was written

`exit_code` of an error decides the process's exit code; the CLI's `main()` is the only place that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class GpupipeError(Exception):
    """Something went wrong that a person can act on.

    `message` says what, where and why in one sentence; `hint` says what to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(GpupipeError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class InputError(UsageError):
    """An input file, folder or prompt is not usable."""


class UploadError(InputError):
    """An input that looked usable could not be read to its end, or changed meanwhile: work had begun, and failed."""

    exit_code = 1


class ConfigError(GpupipeError):
    """gpupipe.toml is missing, malformed or contradictory; `message` lists every mistake with its key."""

    exit_code = 2


class CredentialsError(GpupipeError):
    """No usable AWS credentials, region or account."""


class AwsError(GpupipeError):
    """AWS refused or failed a call.

    `action` is the IAM action where one is known (`sqs:CreateQueue`), `code` the service's error code.
    """

    def __init__(self, message: str, *, hint: str = "", action: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.action = action
        self.code = code


class PermissionDeniedError(AwsError):
    """The credentials in use may not do this."""


class NotOursError(GpupipeError):
    """A thing of that name exists and does not belong to this stack; it is not touched."""


class DataProtectedError(GpupipeError):
    """This would lose data that cannot be made again, and nobody said that it may."""


class LockedError(GpupipeError):
    """Another `up` or `down` holds the stack's lock."""


class LockLostError(LockedError):
    """Somebody took the lock over while this command stood still (a laptop that slept)."""


class StalePlanError(GpupipeError):
    """The stack was changed after the plan was made; what was shown is not what would happen."""


class ApplyError(GpupipeError):
    """Some steps of a plan failed; the others were done and stay done.

    `failures` holds the error of each, in the order in which they failed; `receipt` what was done, as JSON values.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        failures: Sequence[GpupipeError] = (),
        receipt: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.failures = tuple(failures)
        self.receipt = dict(receipt or {})


class StoppedError(GpupipeError):
    """Ctrl-C was pressed: no further call is made, and `hint` says how to go on."""

    exit_code = 130


class TargetError(GpupipeError):
    """The local target cannot start, answer or stop."""


class ForeignFolderError(TargetError):
    """The folder of a local target was made by somebody else, or elsewhere."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"{folder} is not yours: {reason}. Nothing of it is started, asked or ended.",
            hint="`gpupipe up --adopt` makes it yours: the objects in its buckets are kept, its code, record and "
            "addresses are not. `gpupipe down --forget` deletes the folder.",
        )


class NotDeployedError(GpupipeError):
    """The stack, or a part of it that a command needs, is not there."""


class JobError(GpupipeError):
    """A job is unknown, unfinished, or cannot take what was asked of it."""


class InvocationError(GpupipeError):
    """An endpoint refused or failed one request, or gave no answer in time."""


class IntegrityError(GpupipeError):
    """What was read back is not what was written."""
