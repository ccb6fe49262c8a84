import json
from pathlib import Path

import pytest
from tests.account import Account
from tests.local.runners.sagemaker.rig import unique
from tests.local.stacks import Stack
from tests.local.stand_in import write_config
from tests.local.waiting import kill, until

from gpupipe import provision
from gpupipe.aws import Aws
from gpupipe.config import Config, load
from gpupipe.errors import LockedError
from gpupipe.jobs import JobsContext
from gpupipe.local import apply, control
from gpupipe.local.emulators import Emulators
from gpupipe.local.state import Folder
from gpupipe.lock import LOCK_KEY, Lock
from gpupipe.state import object_of

GONE_PID = 2**22 + 1  # beyond what Linux and macOS give


def applied(stack: Stack) -> tuple[Aws, Config]:
    """The account of a target that runs, with what its configuration describes."""
    config = load(stack.config_file)
    aws = control.connect(stack.up(), name=config.stack.name, environment=config.stack.environment)
    provision.up(config, aws)
    apply.remember(stack.config_file, config.stack.id)
    return aws, config


@pytest.fixture(scope="module")
def aws(local: Emulators) -> Aws:
    """An emulated account; every test leaves the whole stack in it."""
    return Account.in_emulators(local, unique("applied")).aws


@pytest.fixture(scope="module")
def config(aws: Aws) -> Config:
    """What was brought up there."""
    one = {"kind": "queue", "task": "segment"}
    stack = {"name": aws.stack.name, "environment": aws.stack.environment}
    config = Config(stack=stack, pipelines={"segment": one})  # type: ignore[arg-type]
    provision.up(config, aws)
    return config


def forget_a_role(aws: Aws) -> str:
    """Lose something as a restarted moto does; returns its name."""
    iam = aws.client("iam")
    name = str(iam.list_roles(PathPrefix=aws.stack.iam_path)["Roles"][0]["RoleName"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for profile in iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=name)
    iam.delete_role(RoleName=name)
    return name


def test_what_was_forgotten_is_made_again(aws: Aws, config: Config) -> None:
    name = forget_a_role(aws)
    apply.apply_again(config, aws)
    assert aws.client("iam").get_role(RoleName=name)
    assert not provision.plan_up(config, aws).changes


def test_command_at_work_is_left_alone(aws: Aws, config: Config) -> None:
    forget_a_role(aws)
    with Lock(aws, command="gpupipe up"), pytest.raises(LockedError):
        apply.apply_again(config, aws)
    apply.apply_again(config, aws)


UNNAMED = {"machine": "", "boot": "", "pid_namespace": "", "started": ""}


@pytest.mark.parametrize("more", [{}, {"boot": "before"}, UNNAMED], ids=["this boot", "before a restart", "unnamed"])
def test_lock_of_a_dead_command_does_not_hold_it_up(aws: Aws, config: Config, more: dict[str, str]) -> None:
    # given a lock whose holder was killed a moment ago
    s3 = aws.client("s3")
    with Lock(aws, command="gpupipe up"):
        held = json.loads(s3.get_object(**object_of(aws, LOCK_KEY))["Body"].read())
    s3.put_object(**object_of(aws, LOCK_KEY), Body=json.dumps({**held, "pid": GONE_PID, **more}).encode())
    name = forget_a_role(aws)
    # when
    apply.apply_again(config, aws)
    # then
    assert aws.client("iam").get_role(RoleName=name)


def test_damaged_lock_is_not_touched(aws: Aws, config: Config) -> None:
    s3, name = aws.client("s3"), forget_a_role(aws)
    s3.put_object(**object_of(aws, LOCK_KEY), Body=b"{")
    with pytest.raises(LockedError, match="damaged"):
        apply.apply_again(config, aws)
    assert s3.get_object(**object_of(aws, LOCK_KEY))["Body"].read() == b"{"
    s3.delete_object(**object_of(aws, LOCK_KEY))
    apply.apply_again(config, aws)
    assert aws.client("iam").get_role(RoleName=name)


def test_a_killed_guard_does_not_keep_the_next_from_looking(aws: Aws, config: Config) -> None:
    # given a guard that was killed in the middle of a look
    ledger = JobsContext.of(aws, config).ledger
    assert ledger.acquire_lease("segment", "killed", 125.0)
    # when ministack is there again, then the next guard looks at once
    apply.free_leases(config, aws)
    assert ledger.acquire_lease("segment", "next", 125.0)


def test_what_was_applied_is_remembered_and_not_what_was_edited_since(tmp_path: Path) -> None:
    # given a configuration that was applied
    config_file = write_config(tmp_path)
    folder = Folder.of(config_file, "demo-dev")
    assert apply.applied_config(folder) is None
    apply.remember(config_file, "demo-dev")
    # when it is edited
    text = config_file.read_text().replace("guard_interval_s = 0.5", "guard_interval_s = 7")
    config_file.write_text(text)
    # then the applied one stays until the next time
    assert (known := apply.applied_config(folder)) is not None
    assert known.local.guard_interval_s == 0.5
    apply.remember(config_file, "demo-dev")
    assert (known := apply.applied_config(folder)) is not None
    assert known.local.guard_interval_s == 7
    # and what a `down` deletes is not applied again while it does
    apply.forget(config_file, "demo-dev")
    assert apply.applied_config(folder) is None
    apply.forget(config_file, "demo-dev")


@pytest.mark.exhaustive
def test_killed_emulators_come_back_with_all_that_was_applied(stack: Stack) -> None:
    # given a stack that is up, and all of it in what the emulator has saved
    aws, config = applied(stack)
    until(lambda: is_saved(stack, aws), within_s=150)
    pids = stack.pids()
    # when everything is killed
    for pid in pids.values():
        kill(pid)
    # then the next command finds all of it again, and is told what was lost
    assert "seconds before" in stack.up().notices[1]
    assert not provision.plan_up(config, aws).changes


@pytest.mark.exhaustive
def test_an_emulator_that_dies_while_the_stack_is_applied_again_is_started_at_once(stack: Stack) -> None:
    # given a stack that is up, and a supervisor that applies it again because moto was killed
    aws, config = applied(stack)
    until(lambda: is_saved(stack, aws), within_s=150)
    before = stack.pids()
    kill(before["moto"])
    until(lambda: stack.pids()["moto"] != before["moto"] and stack.status()["phase"] == "starting")
    # when ministack is killed too
    kill(before["ministack"])
    # then it is not waited for whatever is asked of it meanwhile, which would take boto3 a minute a call
    until(lambda: stack.pids()["ministack"] != before["ministack"], within_s=20)
    until(lambda: stack.status()["ready"])
    assert stack.pids()["supervisor"] == before["supervisor"]
    assert not provision.plan_up(config, aws).changes


def is_saved(stack: Stack, aws: Aws) -> bool:
    """Whether the emulator, which saves once in seconds, has saved whose the state bucket is, and functions at rest.

    What is killed earlier leaves a bucket of nobody, or a function that is pending for ever: `up` mends neither.
    """
    state = Folder.of(stack.config_file, stack.stack_id).path / "ministack/state"
    if not all((state / name).exists() for name in ("s3.json", "lambda.json")):
        return False
    tags = json.loads((state / "s3.json").read_text())["payload"]["bucket_tags"]
    functions = (state / "lambda.json").read_text()
    is_whole = all(
        name in functions for name in (aws.stack.dispatch_function("segment"), aws.stack.guard_function("segment"))
    )
    is_at_rest = "Pending" not in functions and "InProgress" not in functions
    return aws.stack.state_bucket in str(tags) and is_whole and is_at_rest
