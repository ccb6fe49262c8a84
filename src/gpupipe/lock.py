"""The lock of a stack: who is changing it, renewed while they do, and free again by itself when they die.

It expires by S3's clock (`Date` against `Last-Modified`), never by this machine's, which may be wrong or asleep.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

from gpupipe.aws import Aws, error_code, explained
from gpupipe.errors import LockedError, LockLostError
from gpupipe.state import object_of, put_if, who

LOCK_KEY = "lock.json"
LEASE_S = 90.0
RENEW_S = 20.0

Reading = Callable[[], float]
CLOCKS: Sequence[Reading] = (time.monotonic, time.time)
"""The monotonic clock stands still while Linux sleeps, the wall clock can be set back: what counts is the later."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who has the lock, as it stands in the bucket."""

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
    age_s: float = 0.0
    """Seconds since it was last renewed, by S3's clock."""
    etag: str = ""

    @property
    def is_held(self) -> bool:
        return not self.released and self.age_s < self.lease_s

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in {"age_s", "etag"}}

    @classmethod
    def read(cls, aws: Aws) -> tuple[Holder | None, str]:
        """The last holder, if any, and S3's time now."""
        from botocore.exceptions import ClientError

        try:
            answer = aws.client("s3").get_object(**object_of(aws, LOCK_KEY))
        except ClientError as error:
            if error_code(error) not in {"NoSuchKey", "404"}:
                raise
            return None, _server_time(error.response).isoformat(timespec="seconds")
        now = _server_time(answer)
        age_s = (now - answer["LastModified"]).total_seconds()
        holder = cls(**json.loads(answer["Body"].read()), age_s=age_s, etag=answer["ETag"])
        return holder, now.isoformat(timespec="seconds")


class Lock:
    """The right to change a stack, held for a `with` block and renewed by a thread meanwhile."""

    def __init__(
        self,
        aws: Aws,
        *,
        command: str,
        lease_s: float = LEASE_S,
        renew_s: float = RENEW_S,
        clocks: Sequence[Reading] = CLOCKS,
    ) -> None:
        self._aws = aws.gated(None)
        self._command = command
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._mutex = threading.RLock()
        self._ended = threading.Event()
        self._holder: Holder | None = None
        self._lost = ""
        self._clocks = clocks
        self._confirmed = _Stopwatch(clocks)
        self._thread = threading.Thread(target=self._keep, name="gpupipe-lock", daemon=True)

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock where it is free, released or expired. Raises LockedError naming who has it."""
        with explained("take the stack's lock"):
            for _ in range(5):
                last, now = Holder.read(self._aws)
                if last is not None and last.is_held:
                    raise _locked(self._aws.stack.id, last)
                if self._put(self._me(now), last.etag if last else ""):
                    self._thread.start()
                    return
        raise LockedError(f"stack {self._aws.stack.id} is being locked by several at once.", hint="Try again.")

    def check(self) -> None:
        """Raise LockLostError unless the lock is certainly still held; called before each change."""
        with self._mutex:
            if self._ended.is_set():
                return
            # A machine that slept wakes here, before its renewing thread has run.
            if not self._lost and self._confirmed.elapsed_s > self._lease_s / 2:
                self._renew()
            if not self._lost and self._confirmed.elapsed_s > self._lease_s:
                self._lost = "it could not be renewed in time"
            if self._lost:
                raise LockLostError(
                    f"the lock of stack {self._aws.stack.id} was lost: {self._lost}; nothing more is changed.",
                    hint="Run the command again: what was done is kept, and the rest is tried again.",
                )

    def abandon(self) -> None:
        """Stop renewing without a release: the bucket that holds the lock is about to go."""
        with self._mutex:
            self._ended.set()

    def release(self) -> None:
        """Let others in at once. A lock that was lost, or whose bucket is gone, is nothing to release."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._ended.is_set() or self._holder is None:
            return
        self._ended.set()
        with self._mutex:
            if not self._lost:
                released = Holder(**{**asdict(self._holder), "released": True})
                try:
                    self._put(released, released.etag)
                except (BotoCoreError, ClientError):
                    return  # it expires by itself

    def _keep(self) -> None:
        while not self._ended.wait(self._renew_s):
            with self._mutex:
                if not self._ended.is_set() and not self._lost:
                    self._renew()

    def _renew(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        assert self._holder is not None
        renewed = Holder(**{**asdict(self._holder), "renewals": self._holder.renewals + 1})
        try:
            if not self._put(renewed, renewed.etag):
                self._lost = "another command took it over"
        except (BotoCoreError, ClientError):
            return  # tried again in a moment, and in time the lease says whether that was too late

    def _me(self, now: str) -> Holder:
        token = uuid.uuid4().hex
        return Holder(who=who(), pid=os.getpid(), command=self._command, since=now, token=token, lease_s=self._lease_s)

    def _put(self, holder: Holder, etag: str) -> bool:
        """Write the lock if it still is what `etag` says ("" is none). False where somebody was faster."""
        sent = _Stopwatch(self._clocks)
        new_etag = put_if(self._aws, LOCK_KEY, holder.document(), etag)
        if new_etag is None:
            return False
        self._holder = Holder(**{**asdict(holder), "etag": new_etag})
        self._confirmed = sent
        return True


class _Stopwatch:
    """Seconds since it was made, by whichever clock counts most."""

    def __init__(self, clocks: Sequence[Reading]) -> None:
        self._begun = [(clock, clock()) for clock in clocks]

    @property
    def elapsed_s(self) -> float:
        return max(clock() - begun for clock, begun in self._begun)


def _server_time(response: Mapping[str, Any]) -> datetime:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)


def _locked(stack: str, holder: Holder) -> LockedError:
    return LockedError(
        f"stack {stack} is being changed by {holder.who} (`{holder.command}`, process {holder.pid}) since "
        f"{holder.since}; last sign of life {max(holder.age_s, 0):.0f} s ago.",
        hint=f"Wait for it to end. If it died, its lock frees itself {holder.lease_s:.0f} s after that sign of life.",
    )
