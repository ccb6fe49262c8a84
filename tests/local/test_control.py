import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.local.stacks import Stack
from tests.local.stand_in import write_config
from tests.local.waiting import kill, until

from gpupipe.errors import TargetError
from gpupipe.local import control


@pytest.fixture
def stack(config_file: Path) -> Iterator[Stack]:
    """A target that is not there yet."""
    stack = Stack(config_file)
    yield stack
    stack.stop()


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


def test_two_stacks_live_side_by_side(running: Stack) -> None:
    # given a second stack in the same folder
    other = Stack(write_config(running.config_file.parent, "other"), "other-dev")
    try:
        first, second = running.up(), other.up()
        # then they share nothing
        assert set(first.endpoints.values()).isdisjoint(second.endpoints.values())
        other.client("s3").create_bucket(Bucket="only-here")
        assert "only-here" not in names_of_buckets(running)
    finally:
        # and the end of one is not the end of the other
        other.stop()
    assert alive(running.pids()) == {"supervisor", "moto", "ministack"}


def names_of_buckets(stack: Stack) -> list[str]:
    return [bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]]


def test_ctrl_c_of_a_command_does_not_reach_it(running: Stack) -> None:
    # given a target started by a command that is still at work
    running.stop()
    code = "import sys, time; from pathlib import Path; from gpupipe.local import control\n"
    code += "control.ensure_running(Path(sys.argv[1]), stack_id='demo-dev', region='us-east-1')\n"
    code += "print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(running.config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        # when Ctrl-C hits its whole process group
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
    # then the target is as it was
    assert alive(running.pids()) == {"supervisor", "moto", "ministack"}
    assert running.up().notices == ()


@pytest.mark.parametrize("name", ["ministack", "moto"])
def test_crashed_emulator_is_started_again(running: Stack, name: str) -> None:
    # given a target whose state has been saved
    endpoints = running.up().endpoints
    running.client("s3").create_bucket(Bucket=f"before-{name}")
    state = running.config_file.parent / ".gpupipe/demo-dev/ministack/state/s3.json"
    until(lambda: state.exists() and f"before-{name}" in state.read_text())
    before = running.pids()
    # when an emulator is killed
    kill(before[name])
    # then the supervisor starts it again, at the same address, with what it held; the others are as they were
    until(lambda: running.status()["ready"] and running.pids()[name] != before[name])
    target = running.up()
    assert target.endpoints == endpoints
    assert f"{name} ended unexpectedly" in target.notices[0]
    assert f"before-{name}" in names_of_buckets(running)
    assert running.client("ec2").describe_vpcs()["Vpcs"]
    assert {**running.pids(), name: 0} == {**before, name: 0}


def test_interruption_of_a_machine(running: Stack) -> None:
    # given no machine
    with pytest.raises(TargetError, match="No machine is running"):
        control.interrupt(running.config_file, stack_id="demo-dev")
    # given one
    instance_id = running.start_machine("lt-spot")["instance_id"]
    with pytest.raises(TargetError, match=f"i-other is not running. Running: {instance_id}"):
        control.interrupt(running.config_file, stack_id="demo-dev", instance_id="i-other")
    # when it is interrupted, then it goes
    answer = control.interrupt(running.config_file, stack_id="demo-dev", notice_s=0.1)
    assert answer["instance_id"] == instance_id
    until(lambda: not running.status()["machines"])


def test_other_region_is_refused(running: Stack) -> None:
    with pytest.raises(TargetError, match=r"runs in us-east-1, gpupipe\.toml says eu-west-1"):
        running.up("eu-west-1")


def test_crashed_supervisor_is_noticed_and_another_adopts_all(running: Stack) -> None:
    # given a machine at work
    machine = running.start_machine("lt-adopt")
    before = running.pids()
    # when the supervisor is killed
    kill(before["supervisor"])
    # then that is seen
    assert running.status()["phase"] == "crashed"
    assert not running.status()["ready"]
    # and the next command resumes it, with the same emulators and machine
    target = running.up()
    after = running.pids()
    assert after["supervisor"] != before["supervisor"]
    assert (after["moto"], after["ministack"]) == (before["moto"], before["ministack"])
    assert target.notices == ("The local target had ended unexpectedly; it was started again.",)
    assert running.status()["machines"] == [machine]


def test_stop_finds_what_a_killed_supervisor_left(running: Stack) -> None:
    # given a machine at work whose supervisor was killed
    pids = {"machine": running.start_machine("lt-left")["pid"], **running.pids()}
    kill(pids["supervisor"])
    # when the target is stopped
    running.stop(remove=False)
    # then nothing is left, and what comes next knows of no crash
    assert not alive(pids)
    assert running.status()["phase"] == "stopped"
    assert running.up().notices == ()


def test_everything_killed_comes_back(running: Stack) -> None:
    # given a target that was killed whole, as by a power failure
    before = running.pids()
    for pid in before.values():
        kill(pid)
    # when it is wanted, then it is there again
    assert "ended unexpectedly" in running.up().notices[0]
    assert alive(running.pids()) == {"supervisor", "moto", "ministack"}
    assert set(running.pids().values()).isdisjoint(before.values())


def test_removed_folder_ends_everything(running: Stack) -> None:
    # given a running target with a machine
    pids = {"machine": running.start_machine("lt-removed")["pid"], **running.pids()}
    # when a person removes its folder by hand
    shutil.rmtree(running.config_file.parent / ".gpupipe")
    # then nothing goes on running
    until(lambda: not alive(pids))


def test_start_that_cannot_be_says_why(stack: Stack) -> None:
    stack.config_file.write_text("[stack]\nname = 1\n")
    with pytest.raises(TargetError, match=r"could not start: demo\.toml has mistakes"):
        stack.up()


def test_damaged_record_does_not_keep_it_from_ending(running: Stack) -> None:
    # given a running target whose record a full disk has damaged
    pids = running.pids()
    (running.config_file.parent / ".gpupipe/demo-dev/record.json").write_text("{")
    with pytest.raises(TargetError, match=r"record\.json is damaged"):
        running.status()
    # when it is stopped and removed, then nothing is left
    running.stop()
    assert not alive(pids)
