"""Which process somebody was: certain only where machine, boot, namespace and start say the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gpupipe.process_identity import Linux, MacOS, ProcessIdentity, Unknown, boot_id, this_machine

STACK = "demo-dev"
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MACHINE_ID = "0123456789abcdef0123456789abcdef"


def start_sleeper() -> subprocess.Popen[bytes]:
    """A process that has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine."""
    with start_sleeper() as process:
        yield process
        process.kill()


def of(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    """As that process would say it of itself."""
    ours = ProcessIdentity.of_this_process(this_machine(), stack_id=STACK)
    return replace(ours, pid=process.pid, started=this_machine().started(process.pid))


def is_gone(identity: ProcessIdentity) -> bool:
    return identity.is_gone(this_machine(), stack_id=STACK)


@linux
def test_a_process_is_gone_once_it_was_killed_before_anybody_has_reaped_it(other: subprocess.Popen[bytes]) -> None:
    identity = of(other)
    assert not is_gone(identity)

    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # now a zombie, whose number is still taken
    assert is_gone(identity)

    other.wait()
    assert is_gone(identity)


@linux
def test_who_has_its_number_now_is_another(other: subprocess.Popen[bytes]) -> None:
    assert is_gone(replace(of(other), started="12"))


@linux
@pytest.mark.parametrize("field", ["machine", "boot", "pid_namespace"])
@pytest.mark.parametrize("value", ["", "another"])
def test_nothing_is_certain_of_a_process_of_elsewhere(other: subprocess.Popen[bytes], field: str, value: str) -> None:
    gone = of(other)
    other.kill()
    other.wait()
    assert is_gone(gone)
    assert not is_gone(replace(gone, **{field: value}))


@linux
def test_without_its_start_nothing_is_certain(other: subprocess.Popen[bytes]) -> None:
    gone = replace(of(other), started="")
    other.kill()
    other.wait()
    assert not is_gone(gone)


@linux
def test_this_process_is_not_gone() -> None:
    identity = ProcessIdentity.of_this_process(this_machine(), stack_id=STACK)

    assert all((identity.boot, identity.pid_namespace, identity.started))
    assert not is_gone(identity)


def test_the_machines_boot_has_one_name() -> None:
    assert len(boot_id()) >= 8


# --- Linux ----------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's files."""
    files = {"etc/machine-id": MACHINE_ID, "proc/sys/kernel/random/boot_id": "b1", "proc/7/stat": stat("gpupipe")}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "proc/self").symlink_to(str(os.getpid()))
    namespaces = tmp_path / "proc" / str(os.getpid()) / "ns"
    namespaces.mkdir(parents=True)
    (namespaces / "pid").symlink_to("pid:[1]")
    return tmp_path


def stat(command: str, *, state: str = "S", started: int = 4711) -> str:
    """A line of /proc/<pid>/stat."""
    return f"7 ({command}) {state} {' '.join('0' for _ in range(18))} {started} 1 2 3"


def find(pid: int, signal: int) -> None:
    """A `kill` that finds the process."""


def refuse(pid: int, signal: int) -> None:
    raise PermissionError(pid)


def test_the_machines_id_is_not_published(root: Path) -> None:
    machine = Linux(root=root, signal=find)
    identities = [ProcessIdentity(pid=1, machine=machine_hash(machine, stack)) for stack in ("a-dev", "b-dev", "a-dev")]

    assert identities[0] == identities[2] != identities[1]
    assert MACHINE_ID not in str(identities)


def machine_hash(machine: Linux, stack_id: str) -> str:
    stat_ = machine.root / "proc" / str(os.getpid()) / "stat"
    stat_.write_text(stat("python"))
    return ProcessIdentity.of_this_process(machine, stack_id=stack_id).machine


@pytest.mark.parametrize("text", ["", "uninitialized"])
def test_a_machine_without_an_id_is_known_by_its_boot(root: Path, text: str) -> None:
    (root / "etc/machine-id").write_text(text)
    assert machine_hash(Linux(root=root, signal=find), STACK) == ""
    gone = ProcessIdentity(pid=8, boot="b1", pid_namespace="pid:[1]", started="5")

    assert gone.is_gone(Linux(root=root, signal=miss), stack_id=STACK)
    assert not replace(gone, boot="b2").is_gone(Linux(root=root, signal=miss), stack_id=STACK)


def miss(pid: int, signal: int) -> None:
    raise ProcessLookupError(pid)


@pytest.mark.parametrize("command", ["gpupipe", "a (b) c", "x) S 1 2"])
def test_a_commands_name_may_hold_anything(root: Path, command: str) -> None:
    (root / "proc/7/stat").write_text(stat(command))
    assert Linux(root=root, signal=find).started(7) == "4711"


def test_a_process_that_proc_hides_is_not_gone(root: Path) -> None:
    machine = Linux(root=root, signal=refuse)
    identity = ProcessIdentity(pid=9, boot="b1", pid_namespace="pid:[1]", started="5")

    assert machine.started(9) == ""
    assert not identity.is_gone(Linux(root=root, signal=refuse), stack_id=STACK)


def test_where_proc_tells_of_another_namespace_nothing_is_said(root: Path) -> None:
    assert Linux(root=root).pid_namespace() == "pid:[1]"
    (root / "proc/self").unlink()
    (root / "proc/self").symlink_to(str(os.getpid() + 1))
    assert Linux(root=root).pid_namespace() == ""


# --- macOS, and others ------------------------------------------------------------------------------------------


def mac(command: Sequence[str]) -> str:
    """What macOS prints."""
    return {
        "ioreg": '  |   "IOPlatformUUID" = "F00D-1"\n  |   "IOPlatformSerialNumber" = "S"',
        "sysctl": "B007",
        "ps": "Ss+  Fri Nov 27 19:46:46 2026",
    }[Path(command[0]).name]


def test_macos_is_asked_by_its_programs() -> None:
    machine = MacOS(ask=mac, signal=find)
    assert (machine.id(), machine.boot(), machine.started(7)) == ("F00D-1", "B007", "Fri Nov 27 19:46:46 2026")

    ours = ProcessIdentity.of_this_process(machine, stack_id=STACK)
    assert not ours.is_gone(machine, stack_id=STACK)
    assert ours.is_gone(MacOS(ask=mac, signal=miss), stack_id=STACK)
    assert replace(ours, started="Fri Nov 27 10:00:00 2026").is_gone(machine, stack_id=STACK)


def test_a_zombie_of_macos_is_gone() -> None:
    def ask(command: Sequence[str]) -> str:
        return "Z+   Fri Nov 27 19:46:46 2026" if command[0].endswith("ps") else mac(command)

    ours = ProcessIdentity.of_this_process(MacOS(ask=mac, signal=find), stack_id=STACK)
    assert ours.is_gone(MacOS(ask=ask, signal=find), stack_id=STACK)


def test_programs_that_say_nothing_leave_it_open() -> None:
    def ask(command: Sequence[str]) -> str:
        return ""

    machine = MacOS(ask=ask, signal=miss)
    ours = ProcessIdentity.of_this_process(MacOS(ask=ask, signal=find), stack_id=STACK)
    assert not ours.is_gone(machine, stack_id=STACK)


def test_of_an_unknown_system_nothing_is_ever_certain() -> None:
    ours = ProcessIdentity.of_this_process(Unknown(), stack_id=STACK)

    assert (ours.machine, ours.boot, ours.pid_namespace, ours.started) == ("", "", "", "")
    assert not ours.is_gone(Unknown(), stack_id=STACK)
