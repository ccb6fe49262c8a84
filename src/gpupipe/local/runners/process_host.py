"""One process of a runner: a worker that outlives the supervisor which started it, and that the next one adopts.

What every runner does with its processes is here once. What a worker is (an instance, a container), what it is told in
its environment, and when it should run is the runner's.
"""

import contextlib
import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from gpupipe.clock import SYSTEM, Clock
from gpupipe.errors import TargetError
from gpupipe.local import processes
from gpupipe.local.documents import read_json, write_json
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.exits import in_words
from gpuworker.contract import WORK_DIR_VARIABLE

_AWAIT_PAUSE_S = 0.05

log = logging.getLogger(__name__)


class WorkerProcess:
    """A folder, and the process that works in it or did.

    `note` names the file in the folder that says which process that is; it is read once, here, and written by `start`
    and `write_note`. A supervisor that is killed between a start and its note leaves a stray: see `end_strays`.
    `term_grace_s` seconds after SIGTERM the process is killed with all that it has started.
    """

    def __init__(self, folder: Path, *, note: str, log: Path, term_grace_s: float, clock: Clock = SYSTEM) -> None:
        """A note that is damaged counts as none: `end_strays` ends the process that it named."""
        self.folder = folder
        self.log = log
        self._note = folder / note
        self._term_grace_s = term_grace_s
        self._clock = clock
        self.notes: Mapping[str, Any] = read_note(self._note)
        """What an earlier supervisor had written down; nothing where there is no note."""
        self.process = ProcessName.from_json(self.notes["process"]) if self.notes else None
        """Which it is, once it was started."""
        self._searched: ProcessName | None = None
        self._told_to_end_at: float | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if it was ever started."""
        return self.process.pid if self.process else None

    @property
    def was_started(self) -> bool:
        return self.process is not None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def exit(self) -> str:
        """How it ended, in words; nothing while it runs, or where another supervisor had started it: only a process's
        parent is told."""
        code = processes.exit_code(self.process) if self.process and not self.alive else None
        return "" if code is None else in_words(code)

    def start(self, command: Sequence[str], *, environment: Mapping[str, str], notes: Mapping[str, Any]) -> None:
        """Start the process in its folder, its output appended to the log, and note it together with `notes`.

        `environment` is the whole of it. WORK_DIR_VARIABLE, by which strays are found, is added where it is not
        in it: the folder.
        """
        self.end_left_behind()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        where = {WORK_DIR_VARIABLE: str(self.folder)}
        self.process = processes.spawn(command, environment=where | dict(environment), folder=self.folder, log=self.log)
        self._told_to_end_at = None
        self.write_note(notes)

    def write_note(self, notes: Mapping[str, Any]) -> None:
        """Write down what the next supervisor needs to go on with it; nothing before it was started."""
        if self.process:
            write_json(self._note, {"process": self.process.to_json(), **notes})

    def ask_end(self) -> bool:
        """SIGTERM at the first call, SIGKILL once its patience is over; True when it has ended. Call until it has."""
        process = self.process.find() if self.process else None
        if process is None:
            self.end_left_behind()
            return True
        now = self._clock.monotonic()
        if self._told_to_end_at is None:
            self._told_to_end_at = now
            with contextlib.suppress(psutil.Error):
                process.terminate()
        elif now - self._told_to_end_at > self._term_grace_s:
            self.kill()
        return False

    def kill(self) -> None:
        """End it and all that it has started, now."""
        if self.process:
            processes.end(self.process, grace_s=0.0)

    def end_left_behind(self) -> None:
        """Kill what it had started, where it was killed itself; all processes of this machine are looked at, once."""
        if self.process and self.process != self._searched and not self.alive:
            processes.end_left_behind(self.process)
            self._searched = self.process

    def forget(self) -> None:
        """It has ended, and its next start has nothing to do with this one; the folder stays."""
        self.process, self._told_to_end_at = None, None
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take its folder away, once it has ended; the log stays."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_note(note: Path) -> dict[str, Any]:
    """What a note says; nothing where it is not there, or is damaged."""
    try:
        return read_json(note) or {}
    except TargetError as error:
        log.warning("%s It counts as not there.", error)
        return {}


def await_ends(asks: Iterable[Callable[[], bool]]) -> None:
    """Call what asks workers to end, as `WorkerProcess.ask_end` does, until each has said True.

    It ends: a worker is killed when it takes too long.
    """
    left = list(asks)
    while left := [ask for ask in left if not ask()]:
        time.sleep(_AWAIT_PAUSE_S)


def end_strays(folder: Path, workers: Iterable[WorkerProcess]) -> None:
    """Kill what works below `folder` and belongs to none of `workers` that run.

    Such are workers that a killed supervisor had started and not yet noted, and what a worker that was killed has
    left. What a running worker has started has its token, and goes on.
    """
    tokens = {worker.process.token for worker in workers if worker.process and worker.alive}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            token, work = environment.get(processes.TOKEN, ""), environment.get(WORK_DIR_VARIABLE, "")
            if token and token not in tokens and work and Path(work).is_relative_to(folder):
                processes.end(ProcessName.of(process.pid), grace_s=0.0)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now; should another take it, the worker ends and is started on another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
