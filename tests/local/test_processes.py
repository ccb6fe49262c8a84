import os
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.local.waiting import kill, runs, until

from gpupipe.local import processes
from gpupipe.local.processes import ProcessName
from gpupipe.process_identity import boot_id


def start(tmp_path: Path, code: str) -> ProcessName:
    command = [sys.executable, "-u", "-c", code]
    return processes.spawn(command, environment=os.environ, folder=tmp_path, log=tmp_path / "logs" / "out.log")


def printed(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "out.log").read_text()


def test_process_is_known_for_as_long_as_the_machine_runs(tmp_path: Path) -> None:
    name = start(tmp_path, "import time; time.sleep(60)")
    assert name.alive
    assert ProcessName.from_json(name.to_json()) == name
    until(lambda: ProcessName.of(name.pid) == name, within_s=10)
    # a pid that was used again is somebody else
    assert not replace(name, started_at=name.started_at - 60, since_boot_s=name.since_boot_s - 60).alive
    # also by another of ours that was started at the same moment, and after a reboot
    assert not replace(name, token="0" * 32).alive
    assert not replace(name, boot="another").alive
    # a clock that was set in between does not matter
    assert replace(name, started_at=name.started_at - 3600).alive
    assert replace(name, since_boot_s=name.since_boot_s + 3600).alive
    assert processes.end(name, grace_s=5)
    assert not name.alive


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["init", "me"])
def test_what_we_have_not_started_is_never_ours(pid: int) -> None:
    # given the name that somebody else writes into a record, with all that everybody can know
    process = psutil.Process(pid)
    started_at = process.create_time()
    for token in ("", "0" * 32):
        name = ProcessName(
            pid=pid,
            boot=boot_id(),
            started_at=started_at,
            since_boot_s=started_at - psutil.boot_time(),
            token=token,
        )
        # then it is not found, and ending it ends nothing
        assert not name.alive
        assert processes.end(name, grace_s=0)
        assert process.is_running()


def test_end_of_what_is_gone_succeeds(tmp_path: Path) -> None:
    name = start(tmp_path, "pass")
    until(lambda: not name.alive)
    assert processes.end(name, grace_s=0)


@pytest.mark.parametrize(("grace_s", "code"), [(0.0, -9), (5.0, -15)])
def test_how_a_process_ended_is_known_to_whoever_ended_it(tmp_path: Path, grace_s: float, code: int) -> None:
    # given a process that ignores SIGTERM where it is given no time
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if not grace_s else ""
    name = start(tmp_path, f"{ignore}import time; print(1); time.sleep(60)")
    until(lambda: printed(tmp_path))
    # when it is ended, then that is what is said of it, and not that it was well
    processes.end(name, grace_s=grace_s)
    assert processes.exit_code(name) == code


def test_how_a_process_ended_is_known_as_soon_as_it_has(tmp_path: Path) -> None:
    for _ in range(10):
        # given a process with much memory, which takes a moment to be taken down
        name = start(tmp_path, "memory = bytearray(200_000_000); raise SystemExit(3)")
        # when it has just ended
        while name.alive:
            pass
        # then that is known
        assert processes.exit_code(name) == 3


def test_stubborn_process_and_its_children_are_killed(tmp_path: Path) -> None:
    # given a process that ignores SIGTERM and has a child that does too
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
    name = start(tmp_path, code)
    child = int(until(lambda: printed(tmp_path)))
    # when it is ended
    assert not processes.end(name, grace_s=0.2)
    # then both are gone
    assert not name.alive
    until(lambda: not psutil.pid_exists(child))


def test_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    name = start(tmp_path, "import os, time; print(os.getsid(0)); time.sleep(60)")
    assert int(until(lambda: printed(tmp_path))) == name.pid
    processes.end(name, grace_s=5)


def test_large_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "out.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (6 * 2**20))
    name = start(tmp_path, "print('fresh')")
    until(lambda: not name.alive)
    assert log.read_text() == "fresh\n"
    assert log.with_suffix(".old").stat().st_size == 6 * 2**20


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.last_lines(log) == ""
    log.write_text("\n".join(f"line {number}" for number in range(100_000)))
    assert processes.last_lines(log, count=2) == "line 99998\nline 99999"


def test_own_modules_are_found_by_folder(tmp_path: Path) -> None:
    # given a process that runs one of our modules for a folder
    mine, other = tmp_path / "mine", tmp_path / "other"
    command = [sys.executable, "-c", "import time; time.sleep(60)", "gpupipe.local.example", str(mine / "deeper")]
    name = processes.spawn(command, environment=os.environ, folder=tmp_path, log=tmp_path / "log")
    try:
        # then it is found by that folder, and by no other, and for no other package
        until(lambda: name.pid in [one.pid for one in processes.running_modules("gpupipe.local.", mine)])
        assert name.pid not in [one.pid for one in processes.running_modules("gpupipe.local.", other)]
        assert not processes.running_modules("gpupipe.elsewhere.", mine)
    finally:
        processes.end(name, grace_s=5)


def test_what_a_killed_process_has_left_behind_is_killed(tmp_path: Path) -> None:
    # given a process with a child that lives on
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    name, other = start(tmp_path, code), start(tmp_path, "import time; time.sleep(60)")
    try:
        child = int(until(lambda: printed(tmp_path)))
        # when it is not dead yet, then its child is left alone
        processes.end_left_behind(name)
        assert runs(child)
        # and once it is, the child goes too, and nobody else
        kill(name.pid)
        assert runs(child)
        processes.end_left_behind(name)
        until(lambda: not runs(child))
        assert other.alive
    finally:
        processes.end(name, other, grace_s=0.0)
