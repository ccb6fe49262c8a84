"""Which process of which machine somebody was, so that another one can say for certain that it is gone."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

REQUIRED = ("boot", "pid_namespace", "started")
"""Without one of these nothing can be said. The machine's id may be missing, as it is in many containers: a boot id is
drawn anew by every kernel that starts, so it names the machine too."""
ASKING_S = 10.0


class Machine(Protocol):
    """What one machine says of itself and of its processes; "" is what it cannot say."""

    def id(self) -> str:
        """The same for as long as the system is installed; a secret (`man machine-id`)."""
        ...

    def boot(self) -> str:
        """Another one after each start of the machine."""
        ...

    def pid_namespace(self) -> str:
        """In which of its worlds of process numbers (containers) we are."""
        ...

    def started(self, pid: int) -> str:
        """When process `pid` began. Raises ProcessLookupError where there is none, or only its zombie."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process among all that there ever were, as far as its machine could say."""

    pid: int
    machine: str = ""
    """A hash of the machine's id and the stack's: the id itself must not be published, and tells nothing more."""
    boot: str = ""
    pid_namespace: str = ""
    started: str = ""
    """Ticks since boot on Linux, date and time in UTC on macOS."""

    @classmethod
    def of_this_process(cls, machine: Machine, *, stack_id: str) -> ProcessIdentity:
        """Ours."""
        return cls(
            pid=os.getpid(),
            machine=_machine_hash(machine.id(), stack_id),
            boot=machine.boot(),
            pid_namespace=machine.pid_namespace(),
            started=machine.started(os.getpid()),
        )

    def is_gone(self, machine: Machine, *, stack_id: str) -> bool:
        """Is it certain that it ran on `machine`, which is ours, and has ended? False where there is any doubt."""
        if not all(getattr(self, name) for name in REQUIRED):
            return False
        here = (_machine_hash(machine.id(), stack_id), machine.boot(), machine.pid_namespace())
        if (self.machine, self.boot, self.pid_namespace) != here:
            return False
        try:
            started = machine.started(self.pid)
        except ProcessLookupError:
            return True
        return started not in {"", self.started}  # the number was given to another


def _machine_hash(machine_id: str, stack_id: str) -> str:
    """As `sd_id128_get_machine_app_specific` does: the id is the key, so that nobody can compute it back."""
    text = f"gpupipe lock of {stack_id}".encode()
    return hmac.new(machine_id.encode(), text, hashlib.sha256).hexdigest()[:32] if machine_id else ""


@dataclass(frozen=True, kw_only=True)
class Linux:
    """By /proc and /etc, below `root`."""

    root: Path = Path("/")
    signal: Callable[[int, int], None] = os.kill

    def id(self) -> str:
        texts = (self._read(name) for name in ("etc/machine-id", "var/lib/dbus/machine-id"))
        return next((text for text in texts if text and text != "uninitialized"), "")

    def boot(self) -> str:
        return self._read("proc/sys/kernel/random/boot_id")

    def pid_namespace(self) -> str:
        """With the time namespace, by which the ticks since boot are counted. Both numbers are used again only when
        nothing of the old namespace runs any more."""
        with contextlib.suppress(OSError):
            if os.readlink(self.root / "proc/self") != str(os.getpid()):
                return ""  # /proc belongs to another namespace, and tells of other processes
            names = (name for name in ("pid", "time") if os.path.lexists(self.root / "proc/self/ns" / name))
            return " ".join(os.readlink(self.root / "proc/self/ns" / name) for name in names)
        return ""

    def started(self, pid: int) -> str:
        with contextlib.suppress(PermissionError):  # another user's, whom /proc may hide
            self.signal(pid, 0)
        # The command's name stands in brackets, and may hold spaces and brackets itself.
        state, *rest = self._read(f"proc/{pid}/stat").rpartition(")")[2].split() or [""]
        if state in {"Z", "X"}:
            raise ProcessLookupError(pid)
        return rest[18] if len(rest) > 18 else ""  # field 22 of `man proc_pid_stat`; the state is field 3

    def _read(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self.root / name).read_text(errors="replace").strip()
        return ""


def _answer(command: Sequence[str]) -> str:
    """What a program of the system prints, without the person's language and time zone; "" where it fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=ASKING_S,
            stdin=subprocess.DEVNULL,
            env={"LC_ALL": "C", "TZ": "UTC0"},
        )
        return asked.stdout.strip()
    return ""


@dataclass(frozen=True, kw_only=True)
class MacOS:
    """By the programs that it comes with."""

    ask: Callable[[Sequence[str]], str] = _answer
    signal: Callable[[int, int], None] = os.kill

    def id(self) -> str:
        shown = self.ask(["/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"])
        found = re.search(r'"IOPlatformUUID" = "([^"]+)"', shown)
        return found[1] if found else ""

    def boot(self) -> str:
        return self.ask(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"])

    def pid_namespace(self) -> str:
        return "macOS"  # has but one

    def started(self, pid: int) -> str:
        with contextlib.suppress(PermissionError):
            self.signal(pid, 0)
        state, _, start = self.ask(["/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]).partition(" ")
        if state.startswith("Z"):
            raise ProcessLookupError(pid)
        return " ".join(start.split())


class Unknown:
    """Says nothing."""

    def id(self) -> str:
        return ""

    def boot(self) -> str:
        return ""

    def pid_namespace(self) -> str:
        return ""

    def started(self, pid: int) -> str:
        return ""


_BY_PLATFORM: dict[str, Callable[[], Machine]] = {"linux": Linux, "darwin": MacOS}


@functools.cache
def this_machine() -> Machine:
    """The one we run on."""
    return _BY_PLATFORM.get(sys.platform, Unknown)()


@functools.cache
def boot_id() -> str:
    """What tells this run of the machine from every other: a pid and a port mean nothing after it. "" is unknown."""
    return this_machine().boot()
