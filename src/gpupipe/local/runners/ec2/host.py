"""One emulated machine seen from outside: its disk (a folder), its process, and whether it runs, is off, or crashed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gpupipe.local import processes
from gpupipe.local.documents import read_json, write_json
from gpupipe.local.runners.ec2.machine import RUN_FILE, SETTINGS_FILE, TERM_GRACE_S, PowerOff, WorkerFailure, write_run
from gpupipe.local.runners.ec2.metadata import Interruption
from gpupipe.local.runners.process_host import WorkerProcess
from gpupipe.local.state import Folder
from gpuworker.contract import CONFIG_VARIABLE, WORK_DIR_VARIABLE

HOST_FILE = "host.json"
INTERRUPTION_FILE = "interruption.json"
_KILL_AFTER_S = TERM_GRACE_S + 10.0


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
        self.worker = WorkerProcess(folder, note=HOST_FILE, log=log, term_grace_s=_KILL_AFTER_S)
        """The machine's own process, whose child is what works on it."""
        self.crashes = int(self.worker.notes.get("crashes", 0))

    @property
    def state(self) -> HostState:
        if not self.worker.was_started:
            return HostState.NEW
        if self.worker.alive:
            return HostState.RUNNING
        return HostState.OFF if self.off else HostState.CRASHED

    @property
    def pid(self) -> int | None:
        """Of the machine's process, if it was started."""
        return self.worker.pid

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
        self.worker.end_left_behind()  # or it would read what is written now
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / SETTINGS_FILE).write_text(boot.settings, encoding="utf-8")
        (self.folder / INTERRUPTION_FILE).unlink(missing_ok=True)
        write_run(self.folder)
        local = {CONFIG_VARIABLE: str(self.folder / SETTINGS_FILE), WORK_DIR_VARIABLE: str(self.folder)}
        arguments = ["--folder", str(self.folder), "--python", boot.python, "--max-hours", str(boot.max_hours)]
        self.worker.start(
            processes.python_module("gpupipe.local.runners.ec2.machine", *arguments),
            environment={**boot.environment, **local},
            notes=self._notes(),
        )

    def refuse(self, detail: str) -> None:
        """Note that this machine cannot be started; it counts as powered off."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_run(self.folder, off=PowerOff.now("failed", detail))

    def ask_off(self) -> bool:
        """See `WorkerProcess.ask_end`: True when the machine is off."""
        return self.worker.ask_end()

    def crashed(self) -> int:
        """Count a crash; returns how many there were since the instance was started."""
        self.crashes += 1
        self.worker.write_note(self._notes())
        return self.crashes

    def forget_run(self) -> None:
        """The instance is off: its next start is a new boot of the same disk."""
        self.worker.forget()
        self.crashes = 0
        for name in (RUN_FILE, INTERRUPTION_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def remove_disk(self) -> None:
        self.worker.remove()

    @property
    def interruption(self) -> Interruption | None:
        """The spot loss announced for this machine."""
        return read_interruption(self.folder)

    def _notes(self) -> dict[str, Any]:
        return {"crashes": self.crashes}


def read_hosts(folder: Folder) -> list[Host]:
    """All machines of a stack, by their disks."""
    disks = sorted(folder.machines.iterdir()) if folder.machines.is_dir() else []
    return [Host(disk, log=folder.logs / f"{disk.name}.log") for disk in disks if disk.is_dir()]


def running_machines(folder: Folder) -> list[Path]:
    """The disks of the machines that run now."""
    return [host.folder for host in read_hosts(folder) if host.state is HostState.RUNNING]


def read_interruption(folder: Path) -> Interruption | None:
    """The spot loss announced for the machine on this disk."""
    document = read_json(folder / INTERRUPTION_FILE)
    return Interruption(**document) if document else None


def announce_interruption(folder: Path, *, notice_s: float) -> Interruption:
    """Announce a spot loss; the metadata service shows it and the runner carries it out."""
    now = time.time()
    document = {"announced_at": now, "taken_at": now + notice_s}
    write_json(folder / INTERRUPTION_FILE, document)
    return Interruption(**document)
