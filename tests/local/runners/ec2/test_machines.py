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
from tests.local.waiting import runs, until

from gpupipe.local.configuration import RunnerSettings
from gpupipe.local.emulators import Emulators, bound_socket
from gpupipe.local.runners.ec2.host import announce_interruption, running_machines
from gpupipe.local.runners.ec2.machines import Machines, UserDataError, worker_settings
from gpupipe.local.runners.ec2.metadata import MetadataService
from gpupipe.local.state import Folder


class Rig:
    """Machines on a disk of their own, with the emulated EC2 that says which there are."""

    def __init__(self, open_all: Callable[[], Machines], folder: Folder, ec2: Any, metadata: MetadataService) -> None:
        self._open_all = open_all
        self.machines = open_all()
        self.folder = folder
        self.ec2 = ec2
        self.metadata = metadata

    def take_over(self) -> None:
        """As the next supervisor does, after one that was killed."""
        self.machines = self._open_all()

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
            self.machines.step()
            return look()

        return until(stepped)


@pytest.fixture
def rig(tmp_path: Path, local: Emulators, client: Client, worker_python: Path) -> Iterator[Rig]:
    folder = Folder(tmp_path / "stack")
    folder.create()
    metadata = MetadataService(bound_socket(0), secret="a stack's own")
    settings = RunnerSettings(worker_python=str(worker_python), guard_interval_s=0.2, guard_functions=("ec2-guard",))

    def open_all() -> Machines:
        return Machines(
            stack_id="demo-dev",
            folder=folder,
            client=client,
            environment=local.environment,
            metadata=metadata,
            settings=lambda: settings,
        )

    ec2 = client("ec2")
    rig = Rig(open_all, folder, ec2, metadata)
    yield rig
    rig.machines.close()
    metadata.close()
    left = [i["InstanceId"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    ec2.terminate_instances(InstanceIds=left) if left else None


def test_machine_that_ends_idle_is_stopped_and_keeps_its_disk(rig: Rig, local: Emulators) -> None:
    # given a machine whose worker ends by itself
    tell = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_PROFILE"]
    template = worker_template("stop", then="exit 0", tell=tell)
    instance_id = launch(rig.ec2, name="ec2-stop", data=template)
    # when the runner works
    rig.step_until(lambda: rig.state(instance_id) == "stopped")
    # then the worker knew where it was
    start = rig.starts(instance_id)[0]
    assert start["argv"] == ["-m", "gpuworker.entries.poll"]
    assert start["AWS_ENDPOINT_URL"] == local.endpoints["default"]
    assert start["AWS_ENDPOINT_URL_EC2"] == local.endpoints["ec2"]
    assert start["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == rig.metadata.url(instance_id)
    # and a start of the machine is another boot of the same disk
    rig.machines.step()
    rig.ec2.start_instances(InstanceIds=[instance_id])
    rig.step_until(lambda: len(rig.starts(instance_id)) == 2)
    rig.step_until(lambda: rig.state(instance_id) == "stopped")


def test_machine_of_a_fleet_is_terminated_and_its_disk_goes(rig: Rig) -> None:
    instance_id = launch(rig.ec2, name="ec2-terminate", data=worker_template("terminate", then="exit 0"))
    rig.step_until(lambda: rig.state(instance_id) == "terminated")
    rig.step_until(lambda: not rig.disk(instance_id).exists())
    assert (rig.folder.logs / f"{instance_id}.log").exists()


@pytest.mark.parametrize(("call", "kept"), [("stop_instances", True), ("terminate_instances", False)])
def test_machine_that_ec2_turns_off_loses_its_worker(rig: Rig, call: str, kept: bool) -> None:
    # given a running worker
    instance_id = launch(rig.ec2, name="ec2-off", data=worker_template("stop", then="wait"))
    pid = rig.step_until(lambda: rig.starts(instance_id))[0]["pid"]
    assert running_machines(rig.folder) == [rig.disk(instance_id)]
    # when its machine is turned off in EC2
    getattr(rig.ec2, call)(InstanceIds=[instance_id])
    # then it ends, and the disk stays or goes
    rig.step_until(lambda: not psutil.pid_exists(pid))
    rig.step_until(lambda: not running_machines(rig.folder))
    rig.machines.step()
    assert rig.disk(instance_id).exists() is kept


def test_machine_that_ec2_forgot_is_ended(rig: Rig, client: Client) -> None:
    # given a worker whose instance the restarted moto knows nothing of: it has lost its tag
    instance_id = launch(rig.ec2, name="ec2-forgotten", data=worker_template("stop", then="wait"))
    pid = rig.step_until(lambda: rig.starts(instance_id))[0]["pid"]
    rig.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "gpupipe:stack"}])
    # when the runner works, then the worker ends
    rig.step_until(lambda: not psutil.pid_exists(pid))
    rig.step_until(lambda: not rig.disk(instance_id).exists())


def test_a_new_supervisors_machines_adopt_what_runs(rig: Rig, client: Client, local: Emulators) -> None:
    # given a running worker, and a runner that knows only the disk
    instance_id = launch(rig.ec2, name="ec2-adopt", data=worker_template("stop", then="wait"))
    rig.step_until(lambda: rig.starts(instance_id))
    other = Machines(
        stack_id="demo-dev",
        folder=rig.folder,
        client=client,
        environment=local.environment,
        metadata=rig.metadata,
        settings=lambda: RunnerSettings(worker_python="none", guard_interval_s=60, guard_functions=()),
    )
    # when that works
    for _ in range(3):
        other.step()
    # then nothing is started again
    assert len(rig.starts(instance_id)) == 1
    other.close()
    assert not psutil.pid_exists(rig.starts(instance_id)[0]["pid"])


def test_machine_that_was_started_and_never_noted_is_ended_before_another_is_started(rig: Rig) -> None:
    # given a machine at work whose supervisor was killed between starting it and writing that down
    instance_id = launch(rig.ec2, name="ec2-stray", data=worker_template("stop", then="wait"))
    first = rig.step_until(lambda: rig.starts(instance_id))[0]["pid"]
    (rig.disk(instance_id) / "host.json").unlink()
    # when the next supervisor takes over
    rig.take_over()
    # then no two workers ever work on one disk
    assert not runs(first)
    rig.step_until(lambda: len(rig.starts(instance_id)) == 2)


def test_killed_machine_is_booted_again_without_a_stray_worker(rig: Rig) -> None:
    # given a machine whose own process is killed over its head
    instance_id = launch(rig.ec2, name="ec2-killed", data=worker_template("stop", then="wait"))
    first = rig.step_until(lambda: rig.starts(instance_id))[0]["pid"]
    machine = json.loads((rig.disk(instance_id) / "host.json").read_text())["process"]["pid"]
    os.kill(machine, signal.SIGKILL)
    # when the runner works
    rig.step_until(lambda: len(rig.starts(instance_id)) == 2)
    # then the first worker is gone, and word is left
    until(lambda: not psutil.pid_exists(first))
    assert f"process of machine {instance_id} ended unexpectedly" in rig.folder.notices(take=True)[0]


def test_killed_worker_is_told_of_once_a_death(rig: Rig, client: Client) -> None:
    # given a machine whose worker is killed as soon as it starts, and then again
    data = worker_template("stop", then=["killed", "killed", "wait"])
    instance_id = launch(rig.ec2, name="ec2-worker", data=data)
    # when the runner works
    rig.step_until(lambda: len(rig.starts(instance_id)) == 3)
    for _ in range(3):
        rig.machines.step()
    # then each death is told of, once
    told = rig.folder.notices(take=True)
    assert len(told) == 2
    assert all(
        f"worker on machine {instance_id} ended (killed by SIGKILL); its machine starts it" in one for one in told
    )


def test_interruption_takes_the_machine_away(rig: Rig) -> None:
    # given a running worker
    instance_id = launch(rig.ec2, name="ec2-spot", data=worker_template("stop", then="wait"), market="spot")
    pid = rig.step_until(lambda: rig.starts(instance_id))[0]["pid"]
    # when a loss is announced for the far future, then it is only told
    announce_interruption(rig.disk(instance_id), notice_s=1000)
    rig.machines.step()
    facts = rig.metadata.machines[instance_id]
    assert facts.life_cycle == "spot"
    assert facts.interruption is not None
    assert rig.state(instance_id) == "running"
    # and when its time has come, the machine goes
    announce_interruption(rig.disk(instance_id), notice_s=0)
    rig.step_until(lambda: rig.state(instance_id) == "terminated")
    rig.step_until(lambda: not psutil.pid_exists(pid))


def test_user_data_without_worker_settings_turns_the_machine_off_and_is_told(rig: Rig) -> None:
    instance_id = launch(rig.ec2, name="ec2-useless", data=TEMPLATE_DATA)
    rig.step_until(lambda: rig.state(instance_id) == "stopped")
    notice = rig.folder.notices(take=True)[0]
    assert instance_id in notice
    assert "/etc/gpupipe/worker.json" in notice


def test_guard_is_called_again_and_again(rig: Rig, client: Client, local: Emulators) -> None:
    # given a guard
    rig.machines.step()  # one that is not there yet does not matter
    deploy(client, local.account.account_id, "ec2-guard", "def handler(event, context):\n    print('LOOK', event)\n")
    # when the runner works, then it is called
    rig.step_until(lambda: len(logged(client, "ec2-guard", "LOOK")) >= 2)


class SlowGuards:
    """Of Lambda's API what machines use; a call ends when `may_end` is set."""

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
    settings = RunnerSettings(worker_python=str(worker_python), guard_interval_s=1e-9, guard_functions=names)
    machines = Machines(
        stack_id="guarded-dev",
        folder=Folder(tmp_path / "stack"),
        client=lambda service: guards if service == "lambda" else client(service),
        environment=local.environment,
        metadata=metadata,
        settings=lambda: settings,
    )
    # when it steps, then each is called once
    machines.step()
    until(lambda: len(guards.begun) == 2)
    machines.step()
    assert sorted(guards.begun) == sorted(names)
    # and again when it has ended
    guards.may_end.set()

    def called_again() -> bool:
        machines.step()
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


def test_crash_loop_of_a_machine_ends(rig: Rig) -> None:
    # given a machine whose process is killed each time
    instance_id = launch(rig.ec2, name="ec2-loop", data=worker_template("stop", then="wait"))
    deadline = time.monotonic() + 30
    while rig.state(instance_id) != "stopped" and time.monotonic() < deadline:
        rig.machines.step()
        host = rig.disk(instance_id) / "host.json"
        if host.exists():
            pid = json.loads(host.read_text())["process"]["pid"]
            psutil.Process(pid).kill() if psutil.pid_exists(pid) else None
    # then the runner gives up, and says so
    assert rig.state(instance_id) == "stopped"
    assert "ended 4 times" in rig.folder.notices(take=True)[-1]
