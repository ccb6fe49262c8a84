"""The stack's secrets: values go from the person to Secrets Manager, and are shown, logged and kept nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpupipe.aws import Aws, absent_ok
from gpupipe.config import Config
from gpupipe.errors import NotDeployedError, UsageError
from gpupipe.explain import explained
from gpupipe.kinds import registry
from gpupipe.resources.ownership import ours
from gpupipe.resources.secret import BUSY, SETTLE_S, Secret, has_value, secrets_of
from gpupipe.settings import ModelSettings
from gpupipe.weights import SECRET_NAME, SECRET_NAME_RULE
from gpuworker.contract import model_manifest_key

VALUE_MAX_BYTES = 65_536
"""Secrets Manager's limit."""


@dataclass(frozen=True, kw_only=True)
class SecretStatus:
    """One secret, without its value."""

    name: str
    exists: bool
    has_value: bool
    changed_at: float | None
    """Unix time in seconds; None where nothing is known of it."""
    used_by: tuple[str, ...]
    """The pipelines whose configuration names it."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "used_by": list(self.used_by)}


def set_value(aws: Aws, name: str, value: str) -> bool:
    """Give the secret a value, and make it where it is not there; whether it was made.

    Raises UsageError for an impossible name or value, NotOursError, AwsError.
    """
    secret = _called(aws, name)
    if not value.strip():
        raise UsageError(f"the value of {name} is empty; nothing was changed.")
    if len(value.encode()) > VALUE_MAX_BYTES:
        raise UsageError(f"the value of {name} is longer than the {VALUE_MAX_BYTES:,} bytes that a secret holds.")
    with explained(f"set secret {secret.name}"):
        is_new = ours(secret, aws) is None
        if is_new:
            secret.create(aws)
        client = aws.client("secretsmanager")
        aws.retried(client.put_secret_value, codes=BUSY, within_s=SETTLE_S, SecretId=secret.name, SecretString=value)
    return is_new


def delete(aws: Aws, name: str) -> None:
    """Delete the secret and its value, at once. Raises NotDeployedError where there is none, NotOursError, AwsError."""
    secret = _called(aws, name)
    with explained(f"delete secret {secret.name}"):
        if ours(secret, aws) is None:
            raise NotDeployedError(f"there is no secret {name} in {aws.stack.id}.", hint="See `gpupipe secrets list`.")
        secret.delete(aws)


def unset(config: Config, aws: Aws) -> tuple[str, ...]:
    """The secrets that the configuration names and that nobody has given a value; no call where it names none."""
    if not _users(config):
        return ()
    return tuple(one.name for one in list_secrets(config, aws) if one.used_by and not one.has_value)


def check_set(config: Config, aws: Aws) -> None:
    """Before an `up`: what loads its weights while it is made must find all that it needs for that.

    Raises NotDeployedError, and AwsError.
    """
    missing = unset(config, aws)
    for pipeline, settings in config.pipelines.items():
        model = settings.model
        if (
            registry.of(settings).loads_weights_in_up
            and model.token_secret in missing
            and not _has_copy(aws, pipeline, model)
        ):
            raise NotDeployedError(
                f"secret {model.token_secret} has no value, and the {settings.kind} of pipeline {pipeline} fetches its "
                "weights with it while it is made.",
                hint=f"Set it first: `gpupipe secrets set {model.token_secret}`.",
            )


def _has_copy(aws: Aws, pipeline: str, model: ModelSettings) -> bool:
    """Are the weights in the pipeline's bucket already? Then nobody asks the hub."""
    bucket, key = aws.stack.data_bucket(pipeline), model_manifest_key(model.weights, model.revision)
    with explained(f"look for weights in bucket {bucket}"):
        return absent_ok(aws.client("s3").head_object, Bucket=bucket, Key=key) is not None


def list_secrets(config: Config, aws: Aws) -> tuple[SecretStatus, ...]:
    """Those that exist and those that the configuration names, by name."""
    users = _users(config)
    with explained(f"list the secrets of {aws.stack.id}"):
        there = {secret.short_name: entry for secret, entry in secrets_of(aws)}
    return tuple(
        SecretStatus(
            name=name,
            exists=name in there,
            has_value=has_value(there.get(name, {})),
            changed_at=_changed_at(there.get(name, {})),
            used_by=users.get(name, ()),
        )
        for name in sorted({*there, *users})
    )


def _called(aws: Aws, name: str) -> Secret:
    if not SECRET_NAME.fullmatch(name):
        # What was typed may be the value itself: it is not repeated.
        raise UsageError(f"that is no name of a secret: it has {SECRET_NAME_RULE}.", hint="An example: hf_token.")
    return Secret.called(aws.stack, name)


def _users(config: Config) -> dict[str, tuple[str, ...]]:
    names = {settings.model.token_secret for settings in config.pipelines.values()} - {""}
    return {
        name: tuple(one for one, settings in config.pipelines.items() if settings.model.token_secret == name)
        for name in names
    }


def _changed_at(entry: dict[str, Any]) -> float | None:
    changed = entry.get("LastChangedDate")
    return float(changed.timestamp()) if changed and has_value(entry) else None
