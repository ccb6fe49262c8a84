"""Who holds a stack's lock, as it stands in the state bucket: written by us, read as by anybody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gpupipe.aws import Aws, is_absent
from gpupipe.errors import LockedError
from gpupipe.process_identity import Machine, ProcessIdentity, this_machine
from gpupipe.state import object_of

LOCK_KEY = "lock.json"
LEASE_S = 90.0
LONGEST_LEASE_S = 3600.0
"""Who claims more was not written by any gpupipe."""
LONGEST_BYTES = 65_536
LARGEST_PID = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who has the lock. What is read into it beside the document says so."""

    who: str
    pid: int
    command: str
    since: str
    """By S3's clock, ISO 8601."""
    token: str
    lease_s: float = LEASE_S
    """It is free again after so long without a renewal."""
    renewals: int = 0
    released: bool = False
    machine: str = ""
    """This and the next three as `ProcessIdentity` has them; "" where the holder's gpupipe or machine did not say."""
    boot: str = ""
    pid_namespace: str = ""
    started: str = ""
    age_s: float = 0.0
    """Seconds since it was last renewed, by S3's clock; not in the document."""
    etag: str = ""
    """Not in the document."""
    is_gone: bool = False
    """It was a process of this machine and has certainly ended; not in the document."""
    damage: str = ""
    """Why nobody can say who it is; not in the document, which is no lock."""

    @property
    def is_held(self) -> bool:
        return not self.released and not self.is_gone and self.age_s < self.lease_s

    @property
    def process(self) -> ProcessIdentity:
        return ProcessIdentity(
            pid=self.pid,
            machine=self.machine,
            boot=self.boot,
            pid_namespace=self.pid_namespace,
            started=self.started,
        )

    @property
    def summary(self) -> str:
        """``ann@host (`gpupipe up`, process 12)``."""
        if self.damage:
            return f"somebody who cannot be named (the lock is damaged: {self.damage})"
        return f"{self.who} (`{self.command}`, process {self.pid})"

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in BESIDE_DOCUMENT}

    @classmethod
    def read(cls, aws: Aws, *, machine: Machine | None = None) -> tuple[Holder | None, str]:
        """The last holder, if any, and S3's time now. A document that is none gives a holder with `damage`.

        `machine` is the one we run on.
        """
        from botocore.exceptions import ClientError

        try:
            answer = aws.client("s3").get_object(**object_of(aws, LOCK_KEY))
        except ClientError as error:
            if not is_absent(error):
                raise
            return None, _server_time(error.response).isoformat(timespec="seconds")
        now = _server_time(answer)
        age_s = (now - answer["LastModified"]).total_seconds()
        holder = replace(_parse(answer["Body"].read(LONGEST_BYTES + 1)), age_s=age_s, etag=answer["ETag"])
        if not holder.damage and not holder.released:
            is_gone = holder.process.is_gone(machine or this_machine(), stack_id=aws.stack.id)
            holder = replace(holder, is_gone=is_gone)
        return holder, now.isoformat(timespec="seconds")

    def refusal(self, aws: Aws) -> LockedError:
        """The error for who came second."""
        age_s = max(self.age_s, 0)
        if self.damage:
            place = f"s3://{aws.stack.state_bucket}/{LOCK_KEY}"
            return LockedError(
                f"the lock of stack {aws.stack.id}, {place}, is damaged ({self.damage}): nobody can say who is "
                f"changing the stack. It was written {age_s:.0f} s ago.",
                hint=f"It counts as held until it is {self.lease_s:.0f} s old: try again then. Where no `up` and no "
                f"`down` of this stack runs anywhere, delete that object and go on at once.",
            )
        return LockedError(
            f"stack {aws.stack.id} is being changed by {self.summary} since {self.since}; last sign of life "
            f"{age_s:.0f} s ago.",
            hint=f"Wait for it to end. If it died, its lock frees itself {self.lease_s:.0f} s after that sign of life.",
        )

    def why_taken_over(self) -> str:
        """What to say where it was not held any more, and not released either."""
        if self.damage:
            return f"the stack's lock is damaged ({self.damage}) and {self.age_s:.0f} s old; it is taken over."
        if self.is_gone:
            return f"{self.summary} was killed; its lock is taken over."
        return f"{self.summary} has given no sign of life for {self.age_s:.0f} s; its lock is taken over."


BESIDE_DOCUMENT = frozenset({"age_s", "etag", "is_gone", "damage"})
_FIELDS = {one.name: one for one in fields(Holder) if one.name not in BESIDE_DOCUMENT}
_NAMELESS = Holder(who="", pid=0, command="", since="", token="")


def nobody_held_between(before: Holder | None, after: Holder | None) -> bool:
    """Has nobody held the lock from one reading to a later one? What was observed in between holds still."""
    if before is None or after is None:
        return before is after
    return not before.is_held and before.etag == after.etag


def _parse(text: bytes) -> Holder:
    """As it says, without what a newer gpupipe may have added."""
    if len(text) > LONGEST_BYTES:
        return replace(_NAMELESS, damage=f"more than {LONGEST_BYTES:,} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return replace(_NAMELESS, damage="not JSON")
    if damage := _damage(document):
        return replace(_NAMELESS, damage=damage)
    return Holder(**{name: document[name] for name in _known(document)})


def _known(document: Mapping[str, Any]) -> list[str]:
    return [name for name in _FIELDS if name in document]


def _damage(document: Any) -> str:
    """What makes it none of ours; "" where nothing does."""
    if not isinstance(document, dict):
        return "no JSON object"
    if missing := [name for name in ("who", "pid", "command", "since", "token") if name not in document]:
        return f"without {', '.join(missing)}"
    wrong = [name for name in _known(document) if not _is_possible(name, document[name])]
    return f"impossible {', '.join(wrong)}" if wrong else ""


def _is_possible(name: str, value: Any) -> bool:
    if name == "released":
        return isinstance(value, bool)
    if name in {"pid", "renewals"}:
        return type(value) is int and (0 < value <= LARGEST_PID if name == "pid" else value >= 0)
    if name == "lease_s":
        return type(value) in {int, float} and 0 <= value <= LONGEST_LEASE_S
    return isinstance(value, str) and _is_encodable(value)


def _is_encodable(text: str) -> bool:
    """Half a surrogate pair is JSON, but nothing that could be printed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _server_time(response: Mapping[str, Any]) -> datetime:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
