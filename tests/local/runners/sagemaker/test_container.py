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
def orphan(tmp_path: Path) -> Iterator[ProcessName]:
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


def test_containers_are_found_by_what_was_noted(tmp_path: Path, orphan: ProcessName) -> None:
    folder = Folder(tmp_path)
    (found,) = read_all(folder.containers, logs=folder.logs)
    assert (found.identity, found.name, found.alive, found.pid) == (IDENTITY, "i-1", True, orphan.pid)
    assert (found.failures, found.was_ready, found.ready, found.ended) == (1, True, False, "")
    assert (found.instance.url, found.instance.token, found.instance.variant) == ("http://127.0.0.1:9", "word", "main")
    assert SageMakerRunner.status(folder) == [
        {
            "endpoint": "e",
            "variant": "main",
            "instance": "i-1",
            "state": "ready",
            "pid": orphan.pid,
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
def test_what_was_left_is_ended(tmp_path: Path, orphan: ProcessName, damage: str) -> None:
    folder = Folder(tmp_path)
    if damage:
        (folder.containers / "e" / "i-1" / "container.json").write_text(damage)
    SageMakerRunner.end_left(folder)
    until(lambda: not runs(orphan.pid))
    assert SageMakerRunner.status(folder) == []
    SageMakerRunner.end_left(folder)


class Keeper:
    """Keeps one container running, of a model that starts as it is said."""

    def __init__(self, folder: Path) -> None:
        self.clock = TickingClock()
        self.patience = Patience(restart_s=1.0, restart_max_s=3.0, drain_s=10.0)
        self.container = Container(
            folder / "e" / "i-1", IDENTITY, log=folder / "log", patience=self.patience, clock=self.clock
        )
        self._command = [str(write_container_python(folder))]
        self._pings = ThreadPoolExecutor(1)

    def keep_running(self, how: str = "") -> None:
        environment = {**os.environ, "FAKE": how}
        self.container.keep_running(command=self._command, environment=environment, pings=self._pings)

    def until(self, look: Callable[[], Any], how: str = "") -> None:
        """Keep it running, a second each time that it is looked at."""

        def stepped() -> Any:
            self.keep_running(how)
            self.clock.now += 1
            return look()

        until(stepped)

    def end(self) -> None:
        self.container.worker.kill()
        self._pings.shutdown()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.end()


def test_container_that_ends_is_started_again_after_growing_pauses(keeper: Keeper) -> None:
    container, pauses = keeper.container, []
    # when a model that cannot start is wanted all the same
    for _ in range(4):
        keeper.keep_running("crash")
        until(lambda: not container.alive)
        assert container.ended == "the container ended: exit code 3"
        keeper.keep_running("crash")  # sees its end
        before, began = container.pid, keeper.clock.now
        while container.pid == before and keeper.clock.now < began + 10:
            keeper.clock.now += 0.5
            keeper.keep_running("crash")
        pauses.append(keeper.clock.now - began)
        assert container.pid != before
        until(lambda: not container.alive)
    # then it is given more time after each end, but not ever more
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    assert container.failures == container.ends == 4


def test_container_that_was_ready_is_forgiven(keeper: Keeper) -> None:
    # given a container that failed twice and is ready now
    container = keeper.container
    keeper.until(lambda: container.failures == 2, "crash")
    keeper.until(lambda: container.ready)
    # when it is killed
    kill(container.pid or 0)
    keeper.keep_running()
    assert container.ended == "the container ended: killed by SIGKILL"
    assert (container.ready, container.was_ready, container.failures) == (False, True, 2)
    # then it is started again after the first pause
    keeper.clock.now += keeper.patience.restart_s
    keeper.keep_running()
    assert container.alive


def test_container_may_finish_before_it_is_told_to_end(keeper: Keeper) -> None:
    # given a container at work
    container = keeper.container
    keeper.until(lambda: container.ready)
    container.instance.in_flight = 1
    # when it is to leave, then it gets nothing new, and is let finish for a while
    assert not container.ask_end()
    assert not container.ready
    keeper.clock.now += keeper.patience.drain_s
    assert not container.ask_end()
    assert container.alive
    # and when that is over it is told to
    keeper.clock.now += 1
    assert not container.ask_end()
    until(lambda: not container.alive)
    assert container.ask_end()
    assert container.ended == "the container ended: exit code 0"


def test_container_that_must_end_at_once_is_not_waited_for(keeper: Keeper) -> None:
    container = keeper.container
    keeper.until(lambda: container.ready)
    container.instance.in_flight = 1
    assert not container.ask_end(at_once=True)
    until(lambda: not container.alive)
    assert container.ask_end()
    assert container.ask_end(at_once=True)
