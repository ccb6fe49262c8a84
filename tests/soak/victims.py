"""Where each victim runs at this moment, by what its command line says."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence

import psutil
from tests.e2e.conftest import Person

WORDS = {
    "worker": ("gpuworker.entries.poll",),
    "machine": ("gpupipe.local.runners.ec2.machine ",),
    "supervisor": ("gpupipe.local.supervisor",),
    "ministack": ("gpupipe.local.emulator ministack",),
    "moto": ("gpupipe.local.emulator moto",),
    "dispatch": ("-dispatch-", "_worker.py"),
    "guard": ("-guard-", "_worker.py"),
}


def strike(person: Person, victim: str) -> Sequence[int]:
    """Kill every process of the person's local target that is one; their ids."""
    struck = []
    for pid in pids(person, victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            struck.append(pid)
    return struck


def pids(person: Person, victim: str) -> Sequence[int]:
    """None where there is none at the moment."""
    return sorted({pid for pid, command in _commands(person) if all(word in command for word in WORDS[victim])})


def _commands(person: Person) -> Iterator[tuple[int, str]]:
    """The processes of the target and their children; some end while they are listed."""
    for process in person.processes():
        with contextlib.suppress(psutil.Error):
            yield process.pid, f"{' '.join(process.cmdline())} "
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    yield child.pid, f"{' '.join(child.cmdline())} "
