"""Looks after the local target while a command works on it: what dies is told at once and started again, or the command
ends and says why.

Every second a thread compares what the supervisor has noted with the processes that are there. A command whose call
gets no answer waits here too, instead of asking a dead port: boto3 alone asks it for 37 to 64 s, call by call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import psutil

from gpupipe.clock import SYSTEM, Clock
from gpupipe.errors import TargetError
from gpupipe.local import control, processes
from gpupipe.local.state import Folder, Record, Target
from gpupipe.threads import start_daemon

LOOK_S = 1.0
PAUSE_S = 0.2
AGAIN_S = 10.0
"""So often it is said that something still lasts."""
BACK_WITHIN_S = control.START_TIMEOUT_S
UP = "`gpupipe up` starts it."


class Condition(Enum):
    """How a local target is, for somebody who works on it."""

    READY = "ready"
    RECOVERING = "recovering"
    """Its supervisor is at work on it."""
    CRASHED = "crashed"
    """Nobody is."""
    FAILED = "failed"
    STOPPED = "stopped"
    REMOVED = "removed"


class Attendant:
    """Of one command. Its thread ends with `end`, or when the target is lost."""

    def __init__(
        self,
        config_path: Path,
        *,
        stack_id: str,
        target: Target,
        say: Callable[[str], None],
        resume: Callable[..., Target] = control.resume,
        clock: Clock = SYSTEM,
    ) -> None:
        """`say` is told what happens, a line at a time, from whichever thread notices it; `resume` is asked for the
        target of `config_path` where nobody looks after it."""
        self._config_path, self._stack_id, self._target = config_path, stack_id, target
        self._folder = Folder.of(config_path, stack_id)
        self._tell, self._resume, self._clock = say, resume, clock
        self._heard = self._folder.handed_out()
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._lost: TargetError | None = None

    def start(self) -> Attendant:
        """Begin to look every second."""
        start_daemon(self._run, name="attendant")
        return self

    def end(self) -> None:
        """Look no more: the command ends, or is about to stop the target itself.

        Does not wait for a look under way: one that is just starting the target again holds the lock that stopping it
        takes, and one that comes to it later finds it stopped.
        """
        self._ended.set()

    # --- for those who make calls ---

    def require(self) -> None:
        """Raise TargetError once the target is lost."""
        if self._lost is not None and not self._ended.is_set():
            raise self._lost

    def restore(self) -> None:
        """Return when the target is ready, however long that takes up to two minutes. Raises TargetError."""
        if not self._ended.is_set():
            self._look()

    # --- looking ---

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._look()
            except TargetError as error:
                self._say(str(error))
                return
            except (OSError, psutil.Error):
                continue  # a file or a process that changes as it is looked at: the next look sees what became of it

    def _look(self) -> None:
        with self._looking:
            if self._ended.is_set():
                return
            self.require()
            try:
                self._settle()
            except TargetError as error:
                self._lost = error
                raise
            except FileNotFoundError:
                pass  # its folder is being removed: the next look sees what is left

    def _settle(self) -> None:
        begun, told_at = self._clock.monotonic(), float("-inf")
        while (condition := self._condition()) is not Condition.READY:
            now = self._clock.monotonic()
            self._require_hope(condition, waited_s=now - begun)
            if now - told_at >= AGAIN_S:
                told_at = now
                self._say(self._going_on(condition))
            self._help(condition)
        self._tell_news()
        if told_at > float("-inf"):
            self._say("The local target runs again; the command goes on.")

    def _help(self, condition: Condition) -> None:
        """Start it again, or wait a moment for its supervisor to."""
        if condition is Condition.CRASHED:
            self._take_up(self._resume(self._config_path, stack_id=self._stack_id))
        else:
            self._tell_news()
            self._clock.sleep(PAUSE_S)

    def _take_up(self, target: Target) -> None:
        for notice in target.notices:
            self._say(notice)
        self._heard |= self._folder.handed_out()

    def _tell_news(self) -> None:
        for notice in self._folder.news(self._heard):
            self._say(notice)

    def _condition(self) -> Condition:
        record = self._folder.read_record()
        if not record.generation:
            return Condition.REMOVED
        if record.phase in ("starting", "ready"):
            return self._of_supervised(record) if record.supervised else Condition.CRASHED
        return Condition.FAILED if record.phase == "failed" else Condition.STOPPED

    def _of_supervised(self, record: Record) -> Condition:
        target = self._folder.read_target()
        if record.phase != "ready" or target is None or _dead(record):
            return Condition.RECOVERING
        if target.secret_key != self._target.secret_key:
            return Condition.REMOVED
        if target.endpoints != self._target.endpoints:
            raise TargetError("The local target came back at other ports.", hint="Run the same command again.")
        return Condition.READY

    # --- words ---

    def _say(self, text: str) -> None:
        if not self._ended.is_set():
            self._tell(f"note: {text}")

    def _going_on(self, condition: Condition) -> str:
        if condition is Condition.CRASHED:
            return "The local target has ended unexpectedly; it is started again."
        if dead := " and ".join(_dead(self._folder.read_record())):
            return f"The local target's {dead} ended unexpectedly; its supervisor starts it again."
        return "The local target's supervisor is starting it again."

    def _require_hope(self, condition: Condition, *, waited_s: float) -> None:
        path = self._folder.path
        if condition is Condition.REMOVED:
            raise TargetError(f"The local target's folder {path} was removed, and its jobs with it.", hint=UP)
        if condition is Condition.STOPPED:
            raise TargetError("The local target was stopped by another command.", hint=UP)
        if condition is Condition.FAILED:
            problem = self._folder.read_record().problem
            raise TargetError(f"The local target has ended: {problem}", hint=UP)
        if waited_s > BACK_WITHIN_S:
            log = self._folder.supervisor_log
            end = processes.last_lines(log)
            raise TargetError(
                f"The local target did not come back within {BACK_WITHIN_S:.0f} s. Its log {log} ends:\n{end}"
            )


def _dead(record: Record) -> list[str]:
    """Emulators that should run and do not."""
    return [name for name, process in record.emulators.items() if not process.alive]
