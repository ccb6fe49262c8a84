"""The lock of a stack: who is changing it, renewed while they do, and free again by itself when they die.

It expires by S3's clock (`Date` against `Last-Modified`), never by this machine's, which may be wrong or asleep.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from types import TracebackType

from gpupipe.aws import Aws, explained
from gpupipe.clock import looks
from gpupipe.errors import LockedError, LockLostError, StoppedError
from gpupipe.holder import LEASE_S, LOCK_KEY, Holder
from gpupipe.process_identity import Machine, ProcessIdentity, this_machine
from gpupipe.state import put_if, who

__all__ = ["LEASE_S", "LOCK_KEY", "WAIT_S", "Holder", "Lock", "wait_until_free"]

RENEW_S = 20.0
WAIT_S = 120.0
"""Longer than a lease: who waits so long has met somebody who works, not a lock that was left behind."""
FIRST_PAUSE_S = 1.0
SAY_EVERY_S = 20.0

Reading = Callable[[], float]
Say = Callable[[str], None]
CLOCKS: Sequence[Reading] = (time.monotonic, time.time)
"""The monotonic clock stands still while Linux sleeps, the wall clock can be set back: what counts is the later."""


def _ignore(text: str) -> None:
    """For whom nobody listens to."""


def wait_until_free(
    aws: Aws, *, command: str, within_s: float = WAIT_S, say: Say = _ignore, machine: Machine | None = None
) -> float:
    """Return once nobody changes the stack, with the seconds waited by the account's clock; takes nothing.

    Raises LockedError where somebody still does after `within_s` seconds, StoppedError after Ctrl-C.
    """
    refusal: LockedError
    next_word_s = 0.0
    with explained("read the stack's lock"), _saying_what_ctrl_c_stopped(aws, command):
        for waited_s in looks(aws.clock, within_s=within_s, pause_s=FIRST_PAUSE_S):
            holder, _ = Holder.read(aws, machine=machine)
            if holder is None or not holder.is_held:
                return waited_s
            refusal = holder.refusal(aws)
            if within_s and waited_s >= next_word_s:
                say(f"{refusal} Waiting {within_s - waited_s:.0f} s at most; `--no-wait` would not.")
                next_word_s = waited_s + SAY_EVERY_S
    raise refusal


@contextlib.contextmanager
def _saying_what_ctrl_c_stopped(aws: Aws, command: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"stopped while waiting for the lock of stack {aws.stack.id}.", hint=f"Go on with `{command}`."
        ) from error


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
        say: Say = _ignore,
        machine: Machine | None = None,
    ) -> None:
        self._aws = aws.gated(None)
        self._command = command
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._mutex = threading.RLock()
        self._ended = threading.Event()
        self._say = say
        self._machine = machine or this_machine()
        self.predecessor: Holder | None = None
        """Who had it before, once it is taken."""
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
        """Take the lock where it is free, released, expired, or its holder a dead process of this machine.

        Waits for nobody: raises LockedError naming who has it.
        """
        with explained("take the stack's lock"):
            for _ in range(5):
                last, now = Holder.read(self._aws, machine=self._machine)
                if last is not None and last.is_held:
                    raise last.refusal(self._aws)
                if self._put(self._me(now), last.etag if last else ""):
                    self._begin(last)
                    return
        raise LockedError(f"stack {self._aws.stack.id} is being locked by several at once.", hint="Try again.")

    def _begin(self, last: Holder | None) -> None:
        self.predecessor = last
        self._thread.start()
        if last is not None and not last.released:
            self._say(last.why_taken_over())

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
                released = replace(self._holder, released=True)
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
        renewed = replace(self._holder, renewals=self._holder.renewals + 1)
        try:
            if not self._put(renewed, renewed.etag):
                self._lost = "another command took it over"
        except (BotoCoreError, ClientError):
            return  # tried again in a moment, and in time the lease says whether that was too late

    def _me(self, now: str) -> Holder:
        process = ProcessIdentity.of_this_process(self._machine, stack_id=self._aws.stack.id)
        return Holder(
            who=who(),
            command=self._command,
            since=now,
            token=uuid.uuid4().hex,
            lease_s=self._lease_s,
            **asdict(process),
        )

    def _put(self, holder: Holder, etag: str) -> bool:
        """Write the lock if it still is what `etag` says ("" is none). False where somebody was faster."""
        sent = _Stopwatch(self._clocks)
        new_etag = put_if(self._aws, LOCK_KEY, holder.document(), etag)
        if new_etag is None:
            return False
        self._holder = replace(holder, etag=new_etag)
        self._confirmed = sent
        return True


class _Stopwatch:
    """Seconds since it was made, by whichever clock counts most."""

    def __init__(self, clocks: Sequence[Reading]) -> None:
        self._begun = [(clock, clock()) for clock in clocks]

    @property
    def elapsed_s(self) -> float:
        return max(clock() - begun for clock, begun in self._begun)
