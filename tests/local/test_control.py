import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.local.stacks import Stack
from tests.local.stand_in import write_config
from tests.local.waiting import kill, runs, until

from gpupipe.errors import ForeignFolderError, TargetError
from gpupipe.local import control, moto_state, processes
from gpupipe.local.adoption import adopt
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.ec2.host import Boot, Host, HostState
from gpupipe.local.runners.sagemaker.container import Container, Identity
from gpupipe.local.state import Folder, Record


def alive(pids: dict[str, int]) -> set[str]:
    return {name for name, pid in pids.items() if runs(pid)}


def test_what_was_never_started_is_stopped_quietly(stack: Stack) -> None:
    assert stack.status()["phase"] == "stopped"
    stack.stop()
    assert not (stack.config_file.parent / ".gpupipe").exists()


def test_life_of_a_target(running: Stack) -> None:
    # given a target that runs
    target = running.up()
    # then it answers, and status tells all about it
    assert running.client("sts").get_caller_identity()["Account"] == target.account_id
    found = running.status()
    assert found["ready"]
    assert [process["name"] for process in found["processes"] if process["alive"]] == [
        "supervisor",
        "moto",
        "ministack",
    ]
    assert found["environment"]["AWS_ENDPOINT_URL"] == target.endpoints["default"]
    # and all that it has on disk is its owner's
    folder = folder_of(running).path
    assert [path for path in folder.rglob("*") if path.lstat().st_mode & 0o077] == []
    # and the next command finds it as it is
    assert running.up() == target
    # when it is stopped and kept
    running.client("s3").create_bucket(Bucket="kept")
    running.client("iam").create_user(UserName="somebody")
    pids, held = running.pids(), folder / "moto" / moto_state.FILE
    assert held.exists()
    running.stop(remove=False)
    assert not held.exists()
    assert not alive(pids)
    assert running.status()["phase"] == "stopped"
    # and five commands want it at once
    with ThreadPoolExecutor(5) as pool:
        again, *others = pool.map(lambda _: running.up(), range(5))
    # then one of them has started it, with its data, at the same address
    assert others == [again] * 4
    assert (again.endpoints, again.account_id, again.notices) == (target.endpoints, target.account_id, ())
    assert again.generation == target.generation + 1
    assert names_of_buckets(running) == ["kept"]


@pytest.mark.exhaustive
def test_removed_target_leaves_nothing_and_comes_anew(stack: Stack) -> None:
    # given a target that runs
    target, pids = stack.up(), stack.pids()
    stack.client("s3").create_bucket(Bucket="lost")
    # when it is removed, then nothing is left
    stack.stop()
    assert not alive(pids)
    assert not (stack.config_file.parent / ".gpupipe").exists()
    stack.stop()
    # and the next one is another, by the number of its folder
    another = stack.up()
    assert (another.account_id, another.secret_key != target.secret_key) == (target.account_id, True)
    assert names_of_buckets(stack) == []


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
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


@pytest.mark.parametrize("name", ["ministack", pytest.param("moto", marks=pytest.mark.exhaustive)])
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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_everything_killed_comes_back(running: Stack) -> None:
    # given a target that was killed whole, as by a power failure
    before = running.pids()
    for pid in before.values():
        kill(pid)
    # when it is wanted, then it is there again
    assert "ended unexpectedly" in running.up().notices[0]
    assert alive(running.pids()) == {"supervisor", "moto", "ministack"}
    assert set(running.pids().values()).isdisjoint(before.values())


def test_what_was_stopped_or_removed_is_not_resumed(stack: Stack) -> None:
    # given a target that was never up, then one that another command has stopped
    with pytest.raises(TargetError, match=r"it is stopped\. `gpupipe up` starts it"):
        control.resume(stack.config_file, stack_id=stack.stack_id)
    assert not (stack.config_file.parent / ".gpupipe").exists()
    folder = folder_of(stack)
    folder.create()
    folder.write_record(Record(phase="stopped", generation=3))
    with pytest.raises(TargetError, match="it is stopped"):
        control.resume(stack.config_file, stack_id=stack.stack_id)
    # nor by a command that saw it run a moment ago
    with pytest.raises(TargetError, match="it is stopped"):
        control.ensure_running(stack.config_file, stack_id=stack.stack_id, region="us-east-1", only_resume=True)
    assert stack.status()["generation"] == 3


def test_a_supervisor_that_is_killed_whenever_it_starts_is_given_up_after_a_few_tries(stack: Stack) -> None:
    # given somebody who kills every supervisor of this folder
    killed, ended = set[int](), threading.Event()

    def kill_all() -> None:
        while not ended.wait(0.01):
            for process in processes.running_modules(control.SUPERVISOR, folder_of(stack).path):
                killed.add(process.pid)
                process.find() and os.kill(process.pid, signal.SIGKILL)

    killing, said = threading.Thread(target=kill_all), list[str]()
    killing.start()
    try:
        # when the target is wanted, then that is tried a few times, and said
        with pytest.raises(TargetError, match="ended while starting"):
            control.ensure_running(
                stack.config_file, stack_id=stack.stack_id, region="us-east-1", timeout_s=60, say=said.append
            )
    finally:
        ended.set()
        killing.join()
    assert len(killed) == control.START_TRIES
    assert [one for one in said if "ended while starting; it is started again" in one] == said[-2:]


def test_what_takes_long_is_told_and_what_does_not_is_not() -> None:
    said: list[str] = []
    with control.slow(said.append, "quick", after_s=60.0):
        pass
    with control.slow(said.append, "slow", after_s=0.0):
        until(lambda: said)
    assert said == ["slow"]


def test_start_that_cannot_be_says_why(stack: Stack) -> None:
    stack.config_file.write_text("[stack]\nname = 1\n")
    with pytest.raises(TargetError, match=r"could not start: demo\.toml has mistakes"):
        stack.up()


def test_modules_that_lie_beside_the_configuration_are_not_run(stack: Stack, tmp_path: Path) -> None:
    for name in ("psutil", "boto3", "typer", "gpupipe", "hypercorn"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    stack.config_file.write_text("[stack]\nname = 1\n")
    with pytest.raises(TargetError, match=r"could not start: demo\.toml has mistakes"):
        stack.up()
    assert not (tmp_path / "ran").exists()


@pytest.mark.exhaustive
def test_damaged_record_does_not_keep_it_from_ending(running: Stack) -> None:
    # given a running target whose record a full disk has damaged
    pids = running.pids()
    (running.config_file.parent / ".gpupipe/demo-dev/record.json").write_text("{")
    with pytest.raises(TargetError, match=r"record\.json is damaged"):
        running.status()
    # when it is stopped and removed, then nothing is left
    running.stop()
    assert not alive(pids)


def test_stop_ends_what_no_supervisor_looks_after(stack: Stack) -> None:
    # given a machine and a container whose supervisor was killed
    host, container = a_machine(stack), a_container(stack)
    # when the target is stopped, then both end, and what comes next knows of no crash
    assert (host.state, container.alive) == (HostState.RUNNING, True)
    stack.stop(remove=False)
    assert alive({"machine": host.pid or 0, "container": container.pid or 0}) == set()
    assert (stack.status()["phase"], stack.status()["containers"]) == ("stopped", [])
    assert [machine["state"] for machine in stack.status()["machines"]] == ["new"]


def test_stop_needs_no_record_to_find_processes(stack: Stack) -> None:
    # given a supervisor and an emulator whose record a full disk has damaged
    folder = folder_of(stack)
    folder.create()
    modules = ("gpupipe.local.supervisor", "gpupipe.local.emulator")
    started = {module: sleeping(module, folder.path) for module in modules}
    (folder.path / "record.json").write_text("{")
    with pytest.raises(TargetError, match=r"record\.json is damaged"):
        stack.status()
    # when the target is stopped and removed, then nothing is left
    stack.stop()
    assert not alive({module: process.pid for module, process in started.items()})
    assert not folder.path.parent.exists()


def folder_of(stack: Stack) -> Folder:
    return Folder.of(stack.config_file, stack.stack_id)


def sleeping(module: str, folder: Path) -> ProcessName:
    """A process that looks like a module of ours at work in that folder."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)", module, str(folder)]
    process = processes.spawn(command, environment=os.environ, folder=folder, log=folder / "logs" / "log")
    until(lambda: process in processes.running_modules(module, folder))
    return process


def code() -> bytes:
    """Of a function."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("h.py", "def h(event, context): return 1")
    return packed.getvalue()


def a_machine(stack: Stack) -> Host:
    """A machine at work, as a supervisor leaves it."""
    folder = folder_of(stack)
    folder.create()
    host = Host(folder.machines / "i-1", log=folder.logs / "i-1.log")
    settings, python = json.dumps({"then": "wait"}), str(stack.config_file.parent / "python")
    host.boot(Boot(settings=settings, python=python, max_hours=1.0, environment=os.environ))
    until(lambda: (host.folder / "starts.jsonl").exists())
    return host


def a_container(stack: Stack) -> Container:
    """A container in service, as a supervisor leaves it."""
    folder = folder_of(stack)
    folder.create()
    identity = Identity(endpoint="e", config="c", variant="main", number=1)
    container = Container(folder.containers / "e" / "i-2", identity, log=folder.logs / "e.i-2.log")
    with ThreadPoolExecutor(1) as pings:
        python, environment = str(stack.config_file.parent / "python"), os.environ
        container.keep_running(command=[python], environment=environment, pings=pings)
    return container


@pytest.mark.exhaustive  # apart: test_ownership.py, tests/cli/test_foreign.py
def test_a_copy_is_not_resumed_and_adopting_it_keeps_objects_but_no_code(stack: Stack, tmp_path: Path) -> None:
    # given a target with a function and an object, stopped, and a copy of its folder in somebody's repository
    stack.up()
    stack.client("s3").create_bucket(Bucket="kept")
    stack.client("s3").put_object(Bucket="kept", Key="a/b", Body=b"object")
    stack.client("s3").put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    stack.client("s3").put_object(Bucket="kept", Key="a/b", Body=b"newer")
    stack.client("sqs").create_queue(QueueName="work")
    stack.client("lambda").create_function(
        FunctionName="code", Runtime="python3.13", Role="arn:aws:iam::1:role/r", Handler="h.h", Code={"ZipFile": code()}
    )
    before = stack.up()
    stack.stop(remove=False)
    cloned = tmp_path / "cloned"
    cloned.mkdir()
    shutil.copytree(tmp_path / ".gpupipe", cloned / ".gpupipe")
    copy = Stack(write_config(cloned))
    # then nothing of it starts
    for command in (copy.up, copy.status, copy.stop):
        with pytest.raises(ForeignFolderError, match="it is a copy of"):
            command()
    # and when it is adopted
    assert adopt(copy.config_file, stack_id=copy.stack_id, region="us-east-1")
    try:
        target = copy.up()
        # then its objects are there, in the same account, with another key, and its code is not
        assert (target.account_id, target.notices) == (before.account_id, ())
        assert target.secret_key != before.secret_key
        assert copy.client("s3").get_object(Bucket="kept", Key="a/b")["Body"].read() == b"newer"
        versions = copy.client("s3").list_object_versions(Bucket="kept")["Versions"]
        assert len(versions) == 2
        assert copy.client("lambda").list_functions()["Functions"] == []
        assert copy.client("sqs").list_queues().get("QueueUrls", []) == []
    finally:
        copy.stop()
    # and what it was copied from goes on
    assert stack.up().account_id == before.account_id


@pytest.mark.exhaustive
def test_a_target_whose_folder_was_moved_is_resumed(stack: Stack, tmp_path: Path) -> None:
    stack.up()
    stack.client("s3").create_bucket(Bucket="kept")
    pids = stack.pids()
    saved = tmp_path / ".gpupipe/demo-dev/ministack/state/s3.json"
    until(lambda: saved.exists() and "kept" in saved.read_text())
    # when its folder is moved while it runs
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / ".gpupipe").rename(moved / ".gpupipe")
    until(lambda: not alive(pids))
    other = Stack(write_config(moved))
    try:
        # then it has ended where it was, and goes on where it is
        assert names_of_buckets(other) == ["kept"]
        assert not (tmp_path / ".gpupipe" / "demo-dev").exists()
    finally:
        other.stop()
