import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.local.clients import client_of
from tests.local.machines import launch, worker_template
from tests.local.waiting import until

from gpupipe.errors import TargetError
from gpupipe.local import control
from gpupipe.local.state import Target


class Stack:
    """The local target of one configuration file, as commands use it."""

    def __init__(self, config_file: Path, stack_id: str = "demo-dev") -> None:
        self.config_file = config_file
        self.stack_id = stack_id

    def up(self, region: str = "us-east-1") -> Target:
        return control.ensure_running(self.config_file, stack_id=self.stack_id, region=region, timeout_s=60)

    def status(self) -> dict[str, Any]:
        return control.status(self.config_file, stack_id=self.stack_id)

    def stop(self, *, remove: bool = True) -> None:
        control.stop(self.config_file, stack_id=self.stack_id, remove=remove)

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def client(self, service: str) -> Any:
        target = self.up()
        account = control.emulators.Account(
            account_id=target.account_id, secret_key=target.secret_key, region=target.region
        )
        return client_of(account, target.endpoints, service)


@pytest.fixture
def stack(config_file: Path) -> Iterator[Stack]:
    stack = Stack(config_file)
    yield stack
    stack.stop()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def alive(pids: dict[str, int]) -> set[str]:
    return {
        name
        for name, pid in pids.items()
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    }


def test_life_of_a_target(stack: Stack) -> None:
    # given nothing
    assert stack.status()["phase"] == "stopped"
    stack.stop()
    # when it is started
    target = stack.up()
    # then it answers, and status tells all about it
    assert stack.client("sts").get_caller_identity()["Account"] == target.account_id
    found = stack.status()
    assert found["ready"]
    assert [process["name"] for process in found["processes"] if process["alive"]] == [
        "supervisor",
        "moto",
        "ministack",
    ]
    assert found["environment"]["AWS_ENDPOINT_URL"] == target.endpoints["default"]
    # and the next command finds it as it is
    assert stack.up() == target
    # when it is stopped and kept, then it comes back with its data at the same address
    stack.client("s3").create_bucket(Bucket="kept")
    pids = stack.pids()
    stack.stop(remove=False)
    assert not alive(pids)
    assert stack.status()["phase"] == "stopped"
    again = stack.up()
    assert (again.endpoints, again.account_id, again.notices) == (target.endpoints, target.account_id, ())
    assert again.generation == target.generation + 1
    assert [bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]] == ["kept"]
    # when it is removed, then nothing is left
    pids = stack.pids()
    stack.stop()
    assert not alive(pids)
    assert not (stack.config_file.parent / ".gpupipe").exists()
    stack.stop()


def test_many_commands_at_once_start_one_target(stack: Stack) -> None:
    # when five commands want it at once, each in a process of its own
    code = "import sys; from pathlib import Path; from gpupipe.local import control\n"
    code += "print(control.ensure_running(Path(sys.argv[1]), stack_id='demo-dev', region='us-east-1').supervisor_pid)"
    command = [sys.executable, "-c", code, str(stack.config_file)]
    with ThreadPoolExecutor(5) as pool:
        runs = pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, timeout=90), range(5))
        answers = [run.stdout.strip() or run.stderr for run in runs]
    # then all see the same one
    assert set(answers) == {str(stack.pids()["supervisor"])}
    assert stack.status()["generation"] == 1


def test_crashed_supervisor_is_noticed_and_another_adopts_all(stack: Stack) -> None:
    # given a target with data, and a machine at work
    stack.client("s3").create_bucket(Bucket="precious")
    instance_id = launch(stack.client("ec2"), name="lt-adopt", data=worker_template("stop", then="wait"))
    until(lambda: [m for m in stack.status()["machines"] if m["state"] == "running"])
    before, machine = stack.pids(), stack.status()["machines"][0]
    # when the supervisor is killed
    kill(before["supervisor"])
    # then that is seen
    assert stack.status()["phase"] == "crashed"
    assert not stack.status()["ready"]
    # and the next command resumes it, with the same emulators, data and machine
    target = stack.up()
    after = stack.pids()
    assert after["supervisor"] != before["supervisor"]
    assert (after["moto"], after["ministack"]) == (before["moto"], before["ministack"])
    assert target.notices == ("The local target had ended unexpectedly; it was started again.",)
    assert stack.status()["machines"] == [machine]
    assert machine["instance_id"] == instance_id
    # and stop ends the machine too
    stack.stop()
    assert not alive({**after, "machine": machine["pid"]})


@pytest.mark.parametrize("name", ["ministack", "moto"])
def test_crashed_emulator_is_started_again(stack: Stack, name: str) -> None:
    # given a target whose state has been saved
    endpoints = stack.up().endpoints
    stack.client("s3").create_bucket(Bucket="precious")
    state = stack.config_file.parent / ".gpupipe/demo-dev/ministack/state/s3.json"
    until(lambda: state.exists() and "precious" in state.read_text())
    before = stack.pids()
    # when an emulator is killed
    kill(before[name])
    # then the supervisor starts it again, at the same address, with what it held
    until(lambda: stack.status()["ready"] and stack.pids()[name] != before[name])
    target = stack.up()
    assert target.endpoints == endpoints
    assert f"{name} ended unexpectedly" in target.notices[0]
    assert [bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]] == ["precious"]
    assert stack.client("ec2").describe_vpcs()["Vpcs"]
    assert {key: pid for key, pid in stack.pids().items() if key != name} == {
        key: pid for key, pid in before.items() if key != name
    }


def test_everything_killed_comes_back(stack: Stack) -> None:
    # given a target that was killed whole, as by a power failure
    stack.up()
    before = stack.pids()
    for pid in before.values():
        kill(pid)
    # when it is stopped, it ends quietly; when it is wanted, it is there again
    stack.stop(remove=False)
    assert stack.up().generation == 2
    assert alive(stack.pids()) == {"supervisor", "moto", "ministack"}


def test_ctrl_c_of_a_command_does_not_reach_it(stack: Stack) -> None:
    # given a target started by a command that is still at work
    code = "import sys, time; from pathlib import Path; from gpupipe.local import control\n"
    code += "control.ensure_running(Path(sys.argv[1]), stack_id='demo-dev', region='us-east-1')\n"
    code += "print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(stack.config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        # when Ctrl-C hits its whole process group
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
    # then the target is as it was
    assert alive(stack.pids()) == {"supervisor", "moto", "ministack"}
    assert stack.up().notices == ()


def test_two_stacks_live_side_by_side(stack: Stack, tmp_path: Path) -> None:
    # given two stacks in one folder
    other_file = tmp_path / "other.toml"
    other_file.write_text(stack.config_file.read_text().replace('name = "demo"', 'name = "other"'))
    other = Stack(other_file, "other-dev")
    try:
        first, second = stack.up(), other.up()
        # then they share nothing
        assert set(first.endpoints.values()).isdisjoint(second.endpoints.values())
        stack.client("s3").create_bucket(Bucket="same-name")
        other.client("s3").create_bucket(Bucket="same-name")
        # and the end of one is not the end of the other
        stack.stop()
        assert other.client("s3").list_buckets()["Buckets"]
        assert (tmp_path / ".gpupipe" / "other-dev").is_dir()
    finally:
        other.stop()


def test_removed_folder_ends_everything(stack: Stack) -> None:
    # given a running target with a machine
    launch(stack.client("ec2"), name="lt-removed", data=worker_template("stop", then="wait"))
    until(lambda: [m for m in stack.status()["machines"] if m["state"] == "running"])
    pids = {**stack.pids(), "machine": stack.status()["machines"][0]["pid"]}
    # when a person removes its folder by hand
    shutil.rmtree(stack.config_file.parent / ".gpupipe")
    # then nothing goes on running
    until(lambda: not alive(pids))


def test_start_that_cannot_be_says_why(stack: Stack) -> None:
    stack.config_file.write_text("[stack]\nname = 1\n")
    with pytest.raises(TargetError, match=r"could not start: gpupipe\.toml has mistakes"):
        stack.up()


def test_other_region_is_refused(stack: Stack) -> None:
    stack.up()
    with pytest.raises(TargetError, match=r"runs in us-east-1, gpupipe\.toml says eu-west-1"):
        stack.up("eu-west-1")


def test_interruption_of_a_machine(stack: Stack) -> None:
    # given no machine
    stack.up()
    with pytest.raises(TargetError, match="No machine is running"):
        control.interrupt(stack.config_file, stack_id="demo-dev")
    # given one
    instance_id = launch(stack.client("ec2"), name="lt-spot", data=worker_template("stop", then="wait"))
    until(lambda: [m for m in stack.status()["machines"] if m["state"] == "running"])
    with pytest.raises(TargetError, match=f"i-other is not running. Running: {instance_id}"):
        control.interrupt(stack.config_file, stack_id="demo-dev", instance_id="i-other")
    # when it is interrupted, then it goes
    answer = control.interrupt(stack.config_file, stack_id="demo-dev", notice_s=0.1)
    assert answer["instance_id"] == instance_id
    until(lambda: not stack.status()["machines"])
