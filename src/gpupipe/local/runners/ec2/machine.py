"""The inside of one emulated machine: runs the worker as systemd does on AWS, until the machine powers off.

    python -m gpupipe.local.runners.ec2.machine --folder DIR --python PYTHON --max-hours H

A process of its own, so that neither a command's end nor the supervisor's death takes a worker down, and the worker's
exit is seen whoever is watching. It ends when the machine should be off, and says why in `run.json`:

    idle         the worker ended by itself with exit code 0
    failed       the worker failed five times in ten minutes
    hard_limit   the machine ran for `max_processing_hours`
    stopped      the machine was told to power off (SIGTERM)

Turning the instance off in the emulated EC2 is the runner's part, as it is the hypervisor's on AWS.
"""

import argparse
import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpupipe.local.runners.exits import in_words

RUN_FILE = "run.json"
SETTINGS_FILE = "worker.json"

TERM_GRACE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How a machine treats a worker that fails or does not end; the defaults are those of the unit on AWS."""

    restart_s: float = 1.0  # RestartSec, doubled after each failure …
    restart_max_s: float = 30.0  # … up to RestartMaxDelaySec
    max_failures: int = 5  # StartLimitBurst
    failure_window_s: float = 600.0  # StartLimitIntervalSec
    term_grace_s: float = TERM_GRACE_S  # TimeoutStopSec


@dataclass(frozen=True, kw_only=True)
class PowerOff:
    """Why and when a machine went off."""

    reason: str
    detail: str = ""
    exit_code: int | None = None
    at: float

    @classmethod
    def now(cls, reason: str, detail: str = "", exit_code: int | None = None) -> "PowerOff":
        return cls(reason=reason, detail=detail, exit_code=exit_code, at=time.time())


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """When the worker last ended with an error, and how; the machine starts it again."""

    at: float
    detail: str


class _Told(BaseException):
    """Raised by a signal handler out of whatever the machine is doing; no Exception, so that nothing swallows it."""

    def __init__(self, off: PowerOff) -> None:
        super().__init__(off.reason)
        self.off = off


def main(arguments: list[str] | None = None) -> None:
    """Run the worker until the machine should be off."""
    parser = argparse.ArgumentParser(prog="python -m gpupipe.local.runners.ec2.machine")
    parser.add_argument("--folder", type=Path, required=True, help="the machine's disk")
    parser.add_argument("--python", required=True, help="the Python that runs the worker")
    parser.add_argument("--max-hours", type=float, required=True)
    given = parser.parse_args(arguments)
    machine = Machine(given.folder, command=[given.python, "-m", "gpuworker.entries.poll"])
    signal.signal(signal.SIGTERM, lambda *_: machine.tell("stopped", "the machine was told to power off"))
    limit = f"ran for max_processing_hours = {given.max_hours:g}"
    signal.signal(signal.SIGALRM, lambda *_: machine.tell("hard_limit", limit))
    signal.setitimer(signal.ITIMER_REAL, max(given.max_hours * 3600.0, 0.001))
    write_run(given.folder, off=machine.run())


class Machine:
    """Starts the worker, again after failures, and ends it when told to."""

    def __init__(self, folder: Path, *, command: list[str], patience: Patience = Patience()) -> None:
        self._folder = folder
        self._command = command
        self._patience = patience
        self._worker: subprocess.Popen[bytes] | None = None
        self._failures: collections.deque[float] = collections.deque(maxlen=patience.max_failures)
        self._failure: WorkerFailure | None = None
        self._told: PowerOff | None = None
        self._may_interrupt = False

    def tell(self, reason: str, detail: str) -> None:
        """Called by signal handlers. The first reason counts; what comes later does not disturb the ending."""
        if self._told is None:
            self._told = PowerOff.now(reason, detail)
            self._interrupt()

    def _interrupt(self) -> None:
        # Not while a worker is being started: it would be left running, unknown to anybody.
        if self._told is not None and self._may_interrupt:
            self._may_interrupt = False
            raise _Told(self._told)

    def run(self) -> PowerOff:
        """Returns when the machine should be off; no worker is left then."""
        try:
            off = self._run()
            self._may_interrupt = False
        except _Told as told:
            off = told.off
        self._end_worker()
        return off

    def _run(self) -> PowerOff:
        pause_s = self._patience.restart_s
        while True:
            try:
                exit_code = self._run_worker()
            except OSError as error:
                return PowerOff.now("failed", f"the worker cannot be started: {error}")
            if exit_code == 0:
                return PowerOff.now("idle", "the worker ended by itself", 0)
            self._say(f"the worker ended: {in_words(exit_code)}")
            self._failure = WorkerFailure(at=time.time(), detail=in_words(exit_code))
            write_run(self._folder, failure=self._failure)
            if self._failed_too_often():
                detail = f"the worker failed {self._patience.max_failures} times: {in_words(exit_code)}"
                return PowerOff.now("failed", detail, exit_code)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, self._patience.restart_max_s)

    def _run_worker(self) -> int:
        self._may_interrupt = False
        # Its own group: the worker's own children (isolated images) are ended with it.
        self._worker = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, process_group=0, cwd=self._folder)
        write_run(self._folder, worker_pid=self._worker.pid, failure=self._failure)
        self._may_interrupt = True
        self._interrupt()
        exit_code = self._worker.wait()
        self._kill_group(self._worker)
        self._worker = None
        return exit_code

    def _failed_too_often(self) -> bool:
        now = time.monotonic()
        self._failures.append(now)
        full = len(self._failures) == self._patience.max_failures
        return full and now - self._failures[0] <= self._patience.failure_window_s

    def _end_worker(self) -> None:
        """SIGTERM, time to give its shard back, SIGKILL for it and all it started."""
        if self._worker is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._worker.terminate()
        try:
            self._worker.wait(self._patience.term_grace_s)
        except subprocess.TimeoutExpired:
            self._say(f"worker did not end within {self._patience.term_grace_s:g} s of SIGTERM: killed")
        self._kill_group(self._worker)
        self._worker.wait()

    @staticmethod
    def _kill_group(worker: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)

    def _say(self, text: str) -> None:
        line = {"at": time.time(), "machine": self._folder.name, "message": text}
        print(json.dumps(line), file=sys.stderr, flush=True)


def write_run(
    folder: Path,
    *,
    worker_pid: int | None = None,
    off: PowerOff | None = None,
    failure: WorkerFailure | None = None,
) -> None:
    """Note the state of this run where the runner reads it."""
    document: dict[str, Any] = {
        "worker_pid": worker_pid,
        "off": asdict(off) if off else None,
        "failure": asdict(failure) if failure else None,
    }
    draft = folder / f"{RUN_FILE}.draft"
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(folder / RUN_FILE)


if __name__ == "__main__":
    main()
