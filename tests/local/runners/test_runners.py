import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runners.toy import ToyRunner
from tests.local.stand_in import write_config
from tests.local.waiting import kill, runs, until

from gpupipe.local import control, processes
from gpupipe.local.emulators import clean_environment
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners import RUNNERS, Runner, runner_classes
from gpupipe.local.runners.health import http_ping
from gpupipe.local.state import Folder

ROOT = Path(__file__).parents[3]


def test_every_runner_of_the_table_is_one_and_shares_no_name() -> None:
    found = runner_classes()
    assert all(issubclass(one, Runner) for one in found)
    # and what one lacks fails the type check, too
    assert all(getattr(one, "__final__", False) for one in found)
    sections, ports = [one.section for one in found], [one.port_name for one in found if one.port_name]
    assert len(set(sections)) == len(sections) == len(RUNNERS)
    assert len(set(ports)) == len(ports)
    assert all(one.port_name for one in found if one.serves)


def test_names_are_those_that_earlier_versions_have_noted() -> None:
    found = {one.section: one.port_name for one in runner_classes()}
    assert (found["machines"], found["containers"]) == ("metadata", "runtime")


@pytest.mark.parametrize("name", ["section", "open", "step", "close", "status", "end_left"])
def test_a_runner_that_lacks_something_fails_where_it_is_made(name: str) -> None:
    # given all that a runner needs, but for one thing
    body: dict[str, Any] = {one: getattr(ToyRunner, one) for one in vars(ToyRunner) if not one.startswith("_")}
    complete = type("Complete", (Runner,), body)
    assert issubclass(complete, Runner)
    del body[name]
    # when it is made, then that is said
    with pytest.raises(TypeError, match=f"Lacking lacks {name}, which every runner is asked for"):
        type("Lacking", (Runner,), body)


class Toys:
    """A target whose supervisor has a runner more than the table."""

    def __init__(self, folder: Path) -> None:
        self.config = write_config(folder)
        self.folder = Folder.of(self.config, "demo-dev")
        self.folder.create()

    def supervise(self) -> ProcessName:
        """Another supervisor, once it is ready."""
        environment = {
            **clean_environment(),
            "TOY_SUPERVISES": os.pathsep.join((str(self.config), str(self.folder.path))),
            "PYTHONPATH": os.pathsep.join((str(ROOT), *filter(None, sys.path))),
        }
        command = processes.python_module("tests.local.runners.toy", control.SUPERVISOR, str(self.folder.path))
        supervisor = processes.spawn(
            command, environment=environment, folder=self.folder.path, log=self.folder.supervisor_log
        )
        until(lambda: self.is_ready(supervisor) or not supervisor.alive)
        assert supervisor.alive, processes.last_lines(self.folder.supervisor_log)
        return supervisor

    def is_ready(self, supervisor: ProcessName) -> bool:
        record = self.folder.read_record()
        return record.phase == "ready" and record.supervisor == supervisor

    def queues(self) -> Any:
        target = self.folder.read_target()
        assert target
        return boto3.client(
            "sqs", region_name=target.region, endpoint_url=target.endpoints["default"], **target.credentials
        )

    def answering(self) -> dict[str, Any]:
        """The only toy, once it answers."""
        return until(
            lambda: next((one for one in ToyRunner.status(self.folder) if self._answers(one["url"])), {}), within_s=30
        )

    def _answers(self, url: str) -> bool:
        return http_ping(url, "/", headers={}, timeout_s=2.0) is True


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    toys = Toys(tmp_path)
    yield toys
    ToyRunner.end_left(toys.folder)
    control.stop(toys.config, stack_id="demo-dev", remove=True)


def test_a_third_runner_is_a_file_and_a_line(toys: Toys) -> None:
    # given a supervisor with one line more in its table, beside a runner that can do nothing
    first = toys.supervise()
    url = toys.queues().create_queue(QueueName="toy-one")["QueueUrl"]
    # when its emulator says that there is to be a worker, then there is, and it answers
    toy = toys.answering()
    assert (toy["name"], toy["alive"]) == ("toy-one", True)
    assert (toys.folder.logs / "toy-one.log").read_text().startswith("up")
    # when the supervisor is killed, then the next one goes on with the same process
    kill(first.pid)
    assert runs(toy["pid"])
    second = toys.supervise()
    assert toys.answering() == toy
    # when the emulator has it off, then it is stopped, and its folder goes
    toys.queues().delete_queue(QueueUrl=url)
    until(lambda: not runs(toy["pid"]) and ToyRunner.status(toys.folder) == [])
    # and the supervisor's end is the end of those that are left
    toys.queues().create_queue(QueueName="toy-two")
    pid = toys.answering()["pid"]
    assert processes.end(second, grace_s=control.STOP_TIMEOUT_S)
    assert not runs(pid)
    # and what another could not do is in its log
    said = toys.folder.supervisor_log.read_text()
    assert "BrokenRunner could not do its work; it tries again" in said
    assert "BrokenRunner could not end its workers" in said


@pytest.mark.exhaustive
def test_workers_are_started_again_where_an_emulator_comes_back_elsewhere(toys: Toys) -> None:
    # given a toy that answers
    supervisor = toys.supervise()
    toys.queues().create_queue(QueueName="toy-one")
    before, record = toys.answering(), toys.folder.read_record()
    # when moto is killed, and its port is another's before it is started again
    os.kill(supervisor.pid, signal.SIGSTOP)
    kill(record.emulators["moto"].pid)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", record.ports["moto"]))
        taken.listen()
        os.kill(supervisor.pid, signal.SIGCONT)
        until(lambda: toys.folder.read_record().ports["moto"] != record.ports["moto"])
        until(lambda: toys.is_ready(supervisor))
    # then the toy is another process, which knows the new address, though one of the other runners could not end
    until(lambda: not runs(before["pid"]))
    assert toys.answering()["pid"] != before["pid"]
    assert supervisor.alive
