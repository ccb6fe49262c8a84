import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.local.containers import write_container_python
from tests.local.waiting import kill, runs, until
from tests.ticking import TickingClock

from gpupipe.local import processes
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.sagemaker.container import Container, Identity, Patience, read_all
from gpupipe.local.runners.sagemaker.runner import SageMakerRunner
from gpupipe.local.state import Folder

IDENTITY = Identity(endpoint="e", config="c", variant="main", number=1)


@pytest.fixture
def left(tmp_path: Path) -> Iterator[ProcessName]:
    """The process of container i-1, noted as every version has noted it."""
    folder = Folder(tmp_path)
    disk = folder.containers / "e" / "i-1"
    disk.mkdir(parents=True)
    environment = {**os.environ, "GPUPIPE_WORK_DIR": str(disk / "work")}
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = processes.spawn(code, environment=environment, folder=disk, log=folder.logs / "e.i-1.log")
    noted = {name: getattr(process, name) for name in ("pid", "boot", "started_at", "since_boot_s", "token")}
    document = {
        "identity": {"endpoint": "e", "config": "c", "variant": "main", "number": 1},
        "process": noted,
        "started_at": 5.0,
        "failures": 1,
        "was_ready": True,
        "url": "http://127.0.0.1:9",
        "token": "word",
    }
    (disk / "container.json").write_text(json.dumps(document))
    yield process
    processes.end(process, grace_s=0.0)


def test_containers_are_found_by_what_was_noted(tmp_path: Path, left: ProcessName) -> None:
    folder = Folder(tmp_path)
    (found,) = read_all(folder.containers, logs=folder.logs)
    assert (found.identity, found.name, found.alive, found.pid) == (IDENTITY, "i-1", True, left.pid)
    assert (found.failures, found.was_ready, found.ready, found.ended) == (1, True, False, "")
    assert (found.instance.url, found.instance.token, found.instance.variant) == ("http://127.0.0.1:9", "word", "main")
    assert SageMakerRunner.status(folder) == [
        {
            "endpoint": "e",
            "variant": "main",
            "instance": "i-1",
            "state": "ready",
            "pid": left.pid,
            "url": "http://127.0.0.1:9",
            "log": str(folder.logs / "e.i-1.log"),
        }
    ]
    # and noted again it has the same form
    file = folder.containers / "e" / "i-1" / "container.json"
    before = json.loads(file.read_text())
    found.write_note()
    assert json.loads(file.read_text()) == before


@pytest.mark.parametrize("damage", ["", "{"], ids=["noted", "damaged"])
def test_what_was_left_is_ended(tmp_path: Path, left: ProcessName, damage: str) -> None:
    folder = Folder(tmp_path)
    if damage:
        (folder.containers / "e" / "i-1" / "container.json").write_text(damage)
    SageMakerRunner.end_left(folder)
    until(lambda: not runs(left.pid))
    assert SageMakerRunner.status(folder) == []
    SageMakerRunner.end_left(folder)


class Kept:
    """A container that is wanted, of a model that starts as it is said."""

    def __init__(self, folder: Path) -> None:
        self.clock = TickingClock()
        self.patience = Patience(restart_s=1.0, restart_max_s=3.0, drain_s=10.0)
        self.container = Container(
            folder / "e" / "i-1", IDENTITY, log=folder / "log", patience=self.patience, clock=self.clock
        )
        self._command = [str(write_container_python(folder))]
        self._pings = ThreadPoolExecutor(1)

    def keep(self, how: str = "") -> None:
        environment = {**os.environ, "FAKE": how}
        self.container.keep_running(command=self._command, environment=environment, pings=self._pings)

    def until(self, look: Callable[[], Any], how: str = "") -> None:
        """Keep it running, a second each time that it is looked at."""

        def stepped() -> Any:
            self.keep(how)
            self.clock.now += 1
            return look()

        until(stepped)

    def end(self) -> None:
        self.container.worker.kill()
        self._pings.shutdown()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.end()


def test_container_that_ends_is_started_again_after_growing_pauses(kept: Kept) -> None:
    container, pauses = kept.container, []
    # when a model that cannot start is wanted all the same
    for _ in range(4):
        kept.keep("crash")
        until(lambda: not container.alive)
        assert container.ended == "the container ended: exit code 3"
        kept.keep("crash")  # sees its end
        before, began = container.pid, kept.clock.now
        while container.pid == before and kept.clock.now < began + 10:
            kept.clock.now += 0.5
            kept.keep("crash")
        pauses.append(kept.clock.now - began)
        assert container.pid != before
        until(lambda: not container.alive)
    # then it is given more time after each end, but not ever more
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    assert container.failures == container.ends == 4


def test_container_that_was_ready_is_forgiven(kept: Kept) -> None:
    # given a container that failed twice and is ready now
    container = kept.container
    kept.until(lambda: container.failures == 2, "crash")
    kept.until(lambda: container.ready)
    # when it is killed
    kill(container.pid or 0)
    kept.keep()
    assert container.ended == "the container ended: killed by SIGKILL"
    assert (container.ready, container.was_ready, container.failures) == (False, True, 2)
    # then it is started again after the first pause
    kept.clock.now += kept.patience.restart_s
    kept.keep()
    assert container.alive


def test_container_may_finish_before_it_is_told_to_end(kept: Kept) -> None:
    # given a container at work
    container = kept.container
    kept.until(lambda: container.ready)
    container.instance.in_flight = 1
    # when it is to leave, then it gets nothing new, and is let finish for a while
    assert not container.ask_end()
    assert not container.ready
    kept.clock.now += kept.patience.drain_s
    assert not container.ask_end()
    assert container.alive
    # and when that is over it is told to
    kept.clock.now += 1
    assert not container.ask_end()
    until(lambda: not container.alive)
    assert container.ask_end()
    assert container.ended == "the container ended: exit code 0"


def test_container_that_must_end_at_once_is_not_waited_for(kept: Kept) -> None:
    container = kept.container
    kept.until(lambda: container.ready)
    container.instance.in_flight = 1
    assert not container.ask_end(at_once=True)
    until(lambda: not container.alive)
    assert container.ask_end()
    assert container.ask_end(at_once=True)
