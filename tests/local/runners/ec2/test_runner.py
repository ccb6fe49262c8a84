import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.local.clients import Client
from tests.local.functions import deploy, logged
from tests.local.machines import TEMPLATE_DATA, launch, worker_template
from tests.local.waiting import until

from gpupipe.local.configuration import RoomSettings
from gpupipe.local.emulators import Emulators, bound_socket
from gpupipe.local.runners.ec2.host import announce_interruption
from gpupipe.local.runners.ec2.metadata import MetadataService
from gpupipe.local.runners.ec2.runner import MachineRoom, UserDataError, running_machines, worker_settings
from gpupipe.local.state import Folder


class Room:
    """A machine room on a disk of its own, with the emulated EC2 it watches."""

    def __init__(self, room: MachineRoom, folder: Folder, ec2: Any, metadata: MetadataService) -> None:
        self.room = room
        self.folder = folder
        self.ec2 = ec2
        self.metadata = metadata

    def disk(self, instance_id: str) -> Path:
        return self.folder.machines / instance_id

    def starts(self, instance_id: str) -> list[dict[str, Any]]:
        file = self.disk(instance_id) / "starts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def state(self, instance_id: str) -> str:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    def step_until(self, look: Callable[[], Any]) -> Any:
        def stepped() -> Any:
            self.room.step()
            return look()

        return until(stepped)


@pytest.fixture
def room(tmp_path: Path, local: Emulators, client: Client, worker_python: Path) -> Iterator[Room]:
    folder = Folder(tmp_path / "stack")
    folder.create()
    metadata = MetadataService(bound_socket(0), secret="a stack's own")
    settings = RoomSettings(worker_python=str(worker_python), guard_interval_s=0.2, guard_functions=("room-guard",))
    machine_room = MachineRoom(
        stack_id="demo-dev",
        folder=folder,
        client=client,
        environment=local.environment,
        metadata=metadata,
        settings=lambda: settings,
    )
    ec2 = client("ec2")
    yield Room(machine_room, folder, ec2, metadata)
    machine_room.close()
    metadata.close()
    left = [i["InstanceId"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    ec2.terminate_instances(InstanceIds=left) if left else None


def test_machine_that_ends_idle_is_stopped_and_keeps_its_disk(room: Room, local: Emulators) -> None:
    # given a machine whose worker ends by itself
    tell = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_PROFILE"]
    template = worker_template("stop", then="exit 0", tell=tell)
    instance_id = launch(room.ec2, name="room-stop", data=template)
    # when the room works
    room.step_until(lambda: room.state(instance_id) == "stopped")
    # then the worker knew where it was
    start = room.starts(instance_id)[0]
    assert start["argv"] == ["-m", "gpuworker.poll"]
    assert start["AWS_ENDPOINT_URL"] == local.endpoints["default"]
    assert start["AWS_ENDPOINT_URL_EC2"] == local.endpoints["ec2"]
    assert start["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == room.metadata.url(instance_id)
    # and a start of the machine is another boot of the same disk
    room.room.step()
    room.ec2.start_instances(InstanceIds=[instance_id])
    room.step_until(lambda: len(room.starts(instance_id)) == 2)
    room.step_until(lambda: room.state(instance_id) == "stopped")


def test_machine_of_a_fleet_is_terminated_and_its_disk_goes(room: Room) -> None:
    instance_id = launch(room.ec2, name="room-terminate", data=worker_template("terminate", then="exit 0"))
    room.step_until(lambda: room.state(instance_id) == "terminated")
    room.step_until(lambda: not room.disk(instance_id).exists())
    assert (room.folder.logs / f"{instance_id}.log").exists()


@pytest.mark.parametrize(("call", "kept"), [("stop_instances", True), ("terminate_instances", False)])
def test_machine_that_ec2_turns_off_loses_its_worker(room: Room, call: str, kept: bool) -> None:
    # given a running worker
    instance_id = launch(room.ec2, name="room-off", data=worker_template("stop", then="wait"))
    pid = room.step_until(lambda: room.starts(instance_id))[0]["pid"]
    assert running_machines(room.folder) == [room.disk(instance_id)]
    # when its machine is turned off in EC2
    getattr(room.ec2, call)(InstanceIds=[instance_id])
    # then it ends, and the disk stays or goes
    room.step_until(lambda: not psutil.pid_exists(pid))
    room.step_until(lambda: not running_machines(room.folder))
    room.room.step()
    assert room.disk(instance_id).exists() is kept


def test_machine_that_ec2_forgot_is_ended(room: Room, client: Client) -> None:
    # given a worker whose instance the restarted moto knows nothing of: it has lost its tag
    instance_id = launch(room.ec2, name="room-forgotten", data=worker_template("stop", then="wait"))
    pid = room.step_until(lambda: room.starts(instance_id))[0]["pid"]
    room.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "gpupipe:stack"}])
    # when the room works, then the worker ends
    room.step_until(lambda: not psutil.pid_exists(pid))
    room.step_until(lambda: not room.disk(instance_id).exists())


def test_new_room_adopts_what_runs(room: Room, client: Client, local: Emulators) -> None:
    # given a running worker, and a room that knows only the disk
    instance_id = launch(room.ec2, name="room-adopt", data=worker_template("stop", then="wait"))
    room.step_until(lambda: room.starts(instance_id))
    other = MachineRoom(
        stack_id="demo-dev",
        folder=room.folder,
        client=client,
        environment=local.environment,
        metadata=room.metadata,
        settings=lambda: RoomSettings(worker_python="none", guard_interval_s=60, guard_functions=()),
    )
    # when that works
    for _ in range(3):
        other.step()
    # then nothing is started again
    assert len(room.starts(instance_id)) == 1
    other.close()
    assert not psutil.pid_exists(room.starts(instance_id)[0]["pid"])


def test_killed_machine_is_booted_again_without_a_stray_worker(room: Room) -> None:
    # given a machine whose own process is killed over its head
    instance_id = launch(room.ec2, name="room-killed", data=worker_template("stop", then="wait"))
    first = room.step_until(lambda: room.starts(instance_id))[0]["pid"]
    machine = json.loads((room.disk(instance_id) / "host.json").read_text())["process"]["pid"]
    os.kill(machine, signal.SIGKILL)
    # when the room works
    room.step_until(lambda: len(room.starts(instance_id)) == 2)
    # then the first worker is gone, and word is left
    until(lambda: not psutil.pid_exists(first))
    assert f"process of machine {instance_id} ended unexpectedly" in room.folder.notices(take=True)[0]


def test_killed_worker_is_told_of_once_a_death(room: Room, client: Client) -> None:
    # given a machine whose worker is killed as soon as it starts, and then again
    data = worker_template("stop", then=["killed", "killed", "wait"])
    instance_id = launch(room.ec2, name="room-worker", data=data)
    # when the room works
    room.step_until(lambda: len(room.starts(instance_id)) == 3)
    for _ in range(3):
        room.room.step()
    # then each death is told of, once
    told = room.folder.notices(take=True)
    assert len(told) == 2
    assert all(
        f"worker on machine {instance_id} ended (killed by SIGKILL); its machine starts it" in one for one in told
    )


def test_interruption_takes_the_machine_away(room: Room) -> None:
    # given a running worker
    instance_id = launch(room.ec2, name="room-spot", data=worker_template("stop", then="wait"), market="spot")
    pid = room.step_until(lambda: room.starts(instance_id))[0]["pid"]
    # when a loss is announced for the far future, then it is only told
    announce_interruption(room.disk(instance_id), notice_s=1000)
    room.room.step()
    facts = room.metadata.machines[instance_id]
    assert facts.life_cycle == "spot"
    assert facts.interruption is not None
    assert room.state(instance_id) == "running"
    # and when its time has come, the machine goes
    announce_interruption(room.disk(instance_id), notice_s=0)
    room.step_until(lambda: room.state(instance_id) == "terminated")
    room.step_until(lambda: not psutil.pid_exists(pid))


def test_user_data_without_worker_settings_turns_the_machine_off_and_is_told(room: Room) -> None:
    instance_id = launch(room.ec2, name="room-useless", data=TEMPLATE_DATA)
    room.step_until(lambda: room.state(instance_id) == "stopped")
    notice = room.folder.notices(take=True)[0]
    assert instance_id in notice
    assert "/etc/gpupipe/worker.json" in notice


def test_guard_is_called_again_and_again(room: Room, client: Client, local: Emulators) -> None:
    # given a guard
    room.room.step()  # one that is not there yet does not matter
    deploy(client, local.account.account_id, "room-guard", "def handler(event, context):\n    print('LOOK', event)\n")
    # when the room works, then it is called
    room.step_until(lambda: len(logged(client, "room-guard", "LOOK")) >= 2)


class SlowGuards:
    """Of Lambda's API what the room uses; a call ends when `may_end` is set."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Event()

    def invoke(self, *, FunctionName: str, Payload: bytes) -> None:  # noqa: N803 - boto3's
        self.begun.append(FunctionName)
        assert self.may_end.wait(20)


def test_guard_that_still_works_is_not_called_again(
    tmp_path: Path, local: Emulators, client: Client, worker_python: Path
) -> None:
    # given two guards that take their time
    guards, metadata = SlowGuards(), MetadataService(bound_socket(0), secret="a stack's own")
    names = ("one-guard", "other-guard")
    settings = RoomSettings(worker_python=str(worker_python), guard_interval_s=1e-9, guard_functions=names)
    room = MachineRoom(
        stack_id="guarded-dev",
        folder=Folder(tmp_path / "stack"),
        client=lambda service: guards if service == "lambda" else client(service),
        environment=local.environment,
        metadata=metadata,
        settings=lambda: settings,
    )
    # when the room works, then each is called once
    room.step()
    until(lambda: len(guards.begun) == 2)
    room.step()
    assert sorted(guards.begun) == sorted(names)
    # and again when it has ended
    guards.may_end.set()

    def called_again() -> bool:
        room.step()
        return guards.begun.count("one-guard") > 1

    until(called_again)
    metadata.close()


def user_data(document: object) -> str:
    return base64.b64encode(f"#cloud-config\n{json.dumps(document)}".encode()).decode()


def test_worker_settings_are_read_plain_and_encoded() -> None:
    plain = {"path": "/etc/gpupipe/worker.json", "content": "{}"}
    encoded = {"path": "/etc/gpupipe/worker.json", "content": base64.b64encode(b"{}").decode(), "encoding": "b64"}
    other = {"path": "/etc/other", "content": "x"}
    assert worker_settings(user_data({"write_files": [other, plain]})) == "{}"
    assert worker_settings(user_data({"write_files": [encoded]})) == "{}"


@pytest.mark.parametrize("text", ["", "%%%", user_data({}), user_data([]), user_data({"write_files": [{}]})])
def test_useless_user_data_is_an_error(text: str) -> None:
    with pytest.raises(UserDataError):
        worker_settings(text)


def test_crash_loop_of_a_machine_ends(room: Room) -> None:
    # given a machine whose process is killed each time
    instance_id = launch(room.ec2, name="room-loop", data=worker_template("stop", then="wait"))
    deadline = time.monotonic() + 30
    while room.state(instance_id) != "stopped" and time.monotonic() < deadline:
        room.room.step()
        host = room.disk(instance_id) / "host.json"
        if host.exists():
            pid = json.loads(host.read_text())["process"]["pid"]
            psutil.Process(pid).kill() if psutil.pid_exists(pid) else None
    # then the room gives up, and says so
    assert room.state(instance_id) == "stopped"
    assert "ended 4 times" in room.folder.notices(take=True)[-1]
