import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.waiting import runs, until

from gpupipe.local import processes
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.ec2.host import HostState, read_hosts, running_machines
from gpupipe.local.runners.ec2.runner import Ec2Runner
from gpupipe.local.state import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    for name in ("i-1", "i-2"):
        (folder.machines / name).mkdir(parents=True)
    (folder.machines / "no-disk").write_text("")
    return folder


@pytest.fixture
def orphan(folder: Folder) -> Iterator[ProcessName]:
    """The process of machine i-1, noted as every version has noted it."""
    disk = folder.machines / "i-1"
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = processes.spawn(
        code, environment={**os.environ, "GPUPIPE_WORK_DIR": str(disk)}, folder=disk, log=folder.logs / "i-1.log"
    )
    noted = {name: getattr(process, name) for name in ("pid", "boot", "started_at", "since_boot_s", "token")}
    (disk / "host.json").write_text(json.dumps({"process": noted, "crashes": 2}))
    yield process
    processes.end(process, grace_s=0.0)


def test_machines_are_found_by_their_disks(folder: Folder, orphan: ProcessName) -> None:
    running, new = read_hosts(folder)
    assert (running.state, running.pid, running.crashes) == (HostState.RUNNING, orphan.pid, 2)
    assert (new.state, new.pid, new.crashes) == (HostState.NEW, None, 0)
    assert running_machines(folder) == [folder.machines / "i-1"]
    assert Ec2Runner.status(folder) == [
        {"instance_id": "i-1", "state": "running", "pid": orphan.pid, "log": str(folder.logs / "i-1.log")},
        {"instance_id": "i-2", "state": "new", "pid": None, "log": str(folder.logs / "i-2.log")},
    ]


def test_crashes_are_counted_over_supervisors(folder: Folder, orphan: ProcessName) -> None:
    assert read_hosts(folder)[0].crashed() == 3
    again = read_hosts(folder)[0]
    assert (again.crashes, again.pid) == (3, orphan.pid)


def test_what_was_left_is_ended_and_the_disk_stays(folder: Folder, orphan: ProcessName) -> None:
    Ec2Runner.end_left(folder)
    assert not runs(orphan.pid)
    assert [host.state for host in read_hosts(folder)] == [HostState.NEW, HostState.NEW]
    Ec2Runner.end_left(folder)


def test_what_was_left_is_ended_though_its_note_is_damaged(folder: Folder, orphan: ProcessName) -> None:
    (folder.machines / "i-1" / "host.json").write_text("{")
    assert Ec2Runner.status(folder)[0]["state"] == "new"
    Ec2Runner.end_left(folder)
    until(lambda: not runs(orphan.pid))


def test_nothing_is_left_where_there_is_no_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "none")
    assert Ec2Runner.status(folder) == []
    Ec2Runner.end_left(folder)
