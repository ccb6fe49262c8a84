"""One emulated machine seen from outside: its disk (a folder), its process, and whether it runs, is off, or crashed."""

import contextlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

from gpupipe.local import processes
from gpupipe.local.documents import read_json, write_json
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.ec2.machine import RUN_FILE, SETTINGS_FILE, TERM_GRACE_S, PowerOff, WorkerFailure, write_run
from gpupipe.local.runners.ec2.metadata import Interruption

HOST_FILE = "host.json"
INTERRUPTION_FILE = "interruption.json"
_KILL_AFTER_S = TERM_GRACE_S + 10.0
_WORKER_MODULE = "gpuworker.poll"


class HostState(Enum):
    NEW = "new"
    """Was not started yet since the instance was."""
    RUNNING = "running"
    OFF = "off"
    """Powered off by itself; `Host.off` says why."""
    CRASHED = "crashed"
    """The machine's process is gone without a word."""


@dataclass(frozen=True, kw_only=True)
class Boot:
    """What a machine is started with."""

    settings: str
    """worker.json, as the launch template's user data holds it."""
    python: str
    max_hours: float
    environment: Mapping[str, str]


class Host:
    """The folder `machines/<instance-id>` and the process that runs on it."""

    def __init__(self, folder: Path, *, log: Path) -> None:
        self.folder = folder
        self.log = log
        noted = read_json(folder / HOST_FILE) or {}
        self._process = ProcessName.from_json(noted["process"]) if noted else None
        self._asked_off_at: float | None = None
        self.crashes = int(noted.get("crashes", 0))

    @property
    def state(self) -> HostState:
        if self._process is None:
            return HostState.NEW
        if self._process.alive:
            return HostState.RUNNING
        return HostState.OFF if self.off else HostState.CRASHED

    @property
    def pid(self) -> int | None:
        """Of the machine's process, if it was started."""
        return self._process.pid if self._process else None

    @property
    def off(self) -> PowerOff | None:
        """Why the machine went off, once it has."""
        noted = (read_json(self.folder / RUN_FILE) or {}).get("off")
        return PowerOff(**noted) if noted else None

    @property
    def worker_failure(self) -> WorkerFailure | None:
        """The last time in this run that the worker ended with an error."""
        noted = (read_json(self.folder / RUN_FILE) or {}).get("failure")
        return WorkerFailure(**noted) if noted else None

    def boot(self, boot: Boot) -> None:
        """Write the settings to the disk and start the machine's process."""
        self.end_stray_worker()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / SETTINGS_FILE).write_text(boot.settings, encoding="utf-8")
        (self.folder / INTERRUPTION_FILE).unlink(missing_ok=True)
        write_run(self.folder)
        local = {"GPUPIPE_WORKER_CONFIG": str(self.folder / SETTINGS_FILE), "GPUPIPE_WORK_DIR": str(self.folder)}
        arguments = ["--folder", str(self.folder), "--python", boot.python, "--max-hours", str(boot.max_hours)]
        self._process = processes.spawn(
            processes.python_module("gpupipe.local.runners.ec2.machine", *arguments),
            environment={**boot.environment, **local},
            folder=self.folder,
            log=self.log,
        )
        self._asked_off_at = None
        self._note()

    def refuse(self, detail: str) -> None:
        """Note that this machine cannot be started; it counts as powered off."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_run(self.folder, off=PowerOff.now("failed", detail))

    def ask_off(self) -> bool:
        """SIGTERM at the first call, SIGKILL once its patience is over; True when the machine is off."""
        process = self._process.find() if self._process else None
        if process is None:
            self.end_stray_worker()
            return True
        now = time.monotonic()
        if self._asked_off_at is None:
            self._asked_off_at = now
            with contextlib.suppress(psutil.Error):
                process.terminate()
        elif now - self._asked_off_at > _KILL_AFTER_S and self._process:
            processes.end(self._process, grace_s=0.0)
        return False

    def end_stray_worker(self) -> None:
        """Kill the worker of a machine whose own process was killed over its head."""
        pid = (read_json(self.folder / RUN_FILE) or {}).get("worker_pid")
        with contextlib.suppress(psutil.Error):
            worker = psutil.Process(pid) if pid else None
            if worker and _WORKER_MODULE in worker.cmdline() and self._is_here(worker):
                processes.end(ProcessName.of(worker.pid), grace_s=0.0)

    def _is_here(self, worker: psutil.Process) -> bool:
        # The pid may long belong to somebody else's worker.
        return worker.environ().get("GPUPIPE_WORK_DIR") == str(self.folder)

    def crashed(self) -> int:
        """Count a crash; returns how many there were since the instance was started."""
        self.crashes += 1
        self._note()
        return self.crashes

    def forget_run(self) -> None:
        """The instance is off: its next start is a new boot of the same disk."""
        self._process, self._asked_off_at, self.crashes = None, None, 0
        for name in (HOST_FILE, RUN_FILE, INTERRUPTION_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def remove_disk(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def interruption(self) -> Interruption | None:
        """The spot loss announced for this machine."""
        return read_interruption(self.folder)

    def _note(self) -> None:
        if self._process:
            document: dict[str, Any] = {"process": self._process.to_json(), "crashes": self.crashes}
            write_json(self.folder / HOST_FILE, document)


def read_interruption(folder: Path) -> Interruption | None:
    """The spot loss announced for the machine on this disk."""
    document = read_json(folder / INTERRUPTION_FILE)
    return Interruption(**document) if document else None


def announce_interruption(folder: Path, *, notice_s: float) -> Interruption:
    """Announce a spot loss; the metadata service shows it and the machine room carries it out."""
    now = time.time()
    document = {"announced_at": now, "taken_at": now + notice_s}
    write_json(folder / INTERRUPTION_FILE, document)
    return Interruption(**document)
