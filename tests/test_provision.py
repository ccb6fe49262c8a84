"""A whole configuration in an emulated account, with every real kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from gpupipe.config import Config
from gpupipe.errors import ApplyError, ConfigError, NotDeployedError, NotOursError, UsageError
from gpupipe.lock import LOCK_KEY, Lock
from gpupipe.plan import Action
from gpupipe.provision import connect, down, outputs, plan_down, plan_up, status, up
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.state import Inventory
from gpuworker.ledger import Ledger, ShardRecord
from tests.account import Account, KilledError
from tests.gpuworker.ledger.conftest import a_job

held_by_plans = pytest.mark.exhaustive
"""For what `tests/plan` holds of any kind, and `tests/kinds` of an endpoint in a configuration."""


def config(account: Account, *names: str, **settings: Any) -> Config:
    one = {"kind": "queue", "task": "segment", **settings}
    stack = {"name": account.aws.stack.name, "environment": "test", "tags": {"team": "fields"}}
    return Config(stack=stack, pipelines=dict.fromkeys(names or ("segment",), one))  # type: ignore[arg-type]


def bucket(account: Account, pipeline: str = "segment") -> str:
    return account.aws.stack.data_bucket(pipeline)


def fill(account: Account, pipeline: str = "segment") -> None:
    account.aws.client("s3").put_object(Bucket=bucket(account, pipeline), Key="inputs/field7/a.jpg", Body=b"pixels")


@pytest.fixture
def deployed(account: Account) -> Account:
    up(config(account), account.aws)
    account.calls.forget()
    return account


def test_up_makes_what_the_plan_says_and_the_second_up_changes_nothing(account: Account) -> None:
    planned = plan_up(config(account), account.aws)
    assert {step.action for step in planned.steps} == {Action.CREATE}
    assert account.calls.changes == []

    receipt = up(config(account), account.aws, plan=planned)
    account.calls.forget()
    again = up(config(account), account.aws)

    assert len(receipt.created) == len(planned.steps)
    assert again.created == again.updated == again.replaced == again.deleted == ()
    assert account.calls.changes == []


def test_nothing_to_do_costs_a_few_reads_a_resource(deployed: Account) -> None:
    """S3 has a read for each of a bucket's settings; all reads are made at once."""
    resources = len(plan_up(config(deployed), deployed.aws).steps)

    assert len(deployed.calls.made) <= 2.5 * resources


def test_down_deletes_everything_and_finds_nothing_left(deployed: Account) -> None:
    fill(deployed)

    receipt = down(config(deployed), deployed.aws)

    assert (receipt.leftovers, receipt.kept, receipt.searched) == ((), (), True)
    deployed.calls.forget()
    assert down(config(deployed), deployed.aws).deleted == ()
    assert deployed.calls.changes == []
    assert plan_down(config(deployed), deployed.aws).steps == ()


def test_a_changed_setting_changes_only_what_it_concerns(deployed: Account) -> None:
    planned = plan_up(config(deployed, visibility_timeout_s=900), deployed.aws)

    assert {step.name.rpartition("-")[2] for step in planned.changes} == {"work", "worker", "dispatch", "guard"}
    changes = {change.field: (change.old, change.new) for step in planned.changes for change in step.changes}
    assert changes["visibility_timeout_s"] == (600, 900)
    up(config(deployed, visibility_timeout_s=900), deployed.aws, plan=planned)
    assert plan_up(config(deployed, visibility_timeout_s=900), deployed.aws).is_empty


def test_what_somebody_changed_by_hand_is_put_right(deployed: Account) -> None:
    deployed.aws.client("s3").delete_public_access_block(Bucket=bucket(deployed))

    planned = plan_up(config(deployed), deployed.aws)

    assert [(step.name, step.changes) for step in planned.changes] == [(bucket(deployed), (("private", False, True),))]
    assert up(config(deployed), deployed.aws).updated == (f"bucket {bucket(deployed)}",)


@held_by_plans
def test_a_pipeline_that_left_is_deleted_but_for_its_data(account: Account) -> None:
    up(config(account, "one", "two"), account.aws)
    fill(account, "two")

    receipt = up(config(account, "one"), account.aws)

    assert [kept.name for kept in receipt.kept] == [bucket(account, "two")]
    assert f"function {account.aws.stack.guard_function('two')}" in receipt.deleted
    assert not [name for name in receipt.deleted if "-one-" in name]
    assert up(config(account, "one"), account.aws).deleted == ()
    gone = up(config(account, "one"), account.aws, delete_data=[bucket(account, "two")])
    assert gone.deleted == (f"bucket {bucket(account, 'two')}",)
    assert down(config(account, "one"), account.aws).leftovers == ()


# --- one pipeline of several ---


def test_up_of_one_pipeline_makes_it_and_what_it_needs_and_leaves_the_others(account: Account) -> None:
    both = config(account, "one", "two")

    receipt = up(both, account.aws, plan=plan_up(both, account.aws, pipeline="one"))

    stack = account.aws.stack
    assert {f"state bucket {stack.state_bucket}", f"table {stack.table}"} <= set(receipt.created)
    assert not [name for name in receipt.created if "-two-" in name]
    assert plan_up(both, account.aws, pipeline="one").is_empty
    assert set(outputs(both, account.aws)) == {"one"}
    with pytest.raises(NotDeployedError, match=r"pipeline two of .* is not there"):
        outputs(both, account.aws, pipeline="two")
    with pytest.raises(ConfigError, match="no pipeline 'tow'; did you mean 'two'"):
        plan_up(both, account.aws, pipeline="tow")


def test_up_of_one_pipeline_deletes_nothing_of_what_left(account: Account) -> None:
    up(config(account, "one", "two"), account.aws)

    planned = plan_up(config(account, "one"), account.aws, pipeline="one")

    assert planned.is_empty
    assert not plan_up(config(account, "one"), account.aws).is_empty


def test_down_of_one_pipeline_leaves_the_others_with_machines_data_and_jobs(account: Account) -> None:
    both = config(account, "one", "two")
    up(both, account.aws)
    fill(account, "two")
    ec2, stack = account.aws.client("ec2"), account.aws.stack
    machines = {
        name: ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": stack.launch_template(name)},
            InstanceType="g4dn.xlarge",
            MinCount=1,
            MaxCount=1,
        )["Instances"][0]["InstanceId"]
        for name in ("one", "two")
    }
    ledger = Ledger(account.aws.client("dynamodb"), stack.table)
    for name in ("one", "two"):
        ledger.open_job(
            a_job(f"job-{name}", pipeline=name),
            [ShardRecord(job=f"job-{name}", number=0, items=1)],
        )

    planned = plan_down(both, account.aws, pipeline="one")
    assert planned.notes == ("1 job is open and goes too: job-one",)

    receipt = down(both, account.aws, plan=planned)

    assert (receipt.leftovers, receipt.kept) == ((), ())
    assert f"machine {machines['one']}" in receipt.deleted
    assert f"bucket {bucket(account, 'one')}" in receipt.deleted
    assert not [name for name in receipt.deleted if "-two" in name or machines["two"] in name or stack.table in name]
    assert [job.job for job in ledger.jobs()] == ["job-two"]
    assert ledger.shard("job-one", 0) is None
    assert ledger.shard("job-two", 0) is not None
    # and it can be made again, beside the other as it was
    assert plan_up(both, account.aws, pipeline="two").is_empty
    assert up(both, account.aws).deleted == ()
    assert down(both, account.aws).leftovers == ()


def test_a_killed_down_of_one_pipeline_is_finished_by_the_next(new_account: Callable[[], Account]) -> None:
    account = new_account()
    both = config(account, "one", "two")
    up(both, account.aws)
    account.calls.die_after = len(account.calls.changes) + 16
    with pytest.raises(KilledError):
        down(both, account.aws, plan=plan_down(both, account.aws, pipeline="one"))
    account.calls.die_after = None
    account.expire_lock()

    receipt = down(both, account.aws, plan=plan_down(both, account.aws, pipeline="one"))
    # another was killed when all was gone but the inventory's lines
    assert receipt.leftovers == ()
    assert {entry.pipeline for entry in Inventory.read(account.aws).entries.values()} == {"", "two"}
    assert set(outputs(both, account.aws)) == {"two"}
    assert plan_up(both, account.aws, pipeline="two").is_empty


def test_what_is_in_the_inventory_in_vain_leaves_it_with_the_pipeline(account: Account) -> None:
    both = config(account, "one", "two")
    up(both, account.aws)
    listed = Inventory.read(account.aws)
    down(both, account.aws, plan=plan_down(both, account.aws, pipeline="one"))
    now = Inventory.read(account.aws)
    now.written(account.aws, listed.entries.values())

    down(both, account.aws, plan=plan_down(both, account.aws, pipeline="one"))

    assert {entry.pipeline for entry in Inventory.read(account.aws).entries.values()} == {"", "two"}


def test_up_of_one_pipeline_writes_down_the_others_where_the_inventory_was_lost(account: Account) -> None:
    both = config(account, "one", "two")
    up(both, account.aws)
    account.aws.client("s3").delete_object(Bucket=account.aws.stack.state_bucket, Key="inventory.json")
    changed = config(account, "one", "two", quiet_seconds=61)

    up(changed, account.aws, plan=plan_up(changed, account.aws, pipeline="one"))

    left = plan_up(config(account, "one", quiet_seconds=61), account.aws)
    assert {step.resource.pipeline for step in left.steps if step.action is Action.DELETE} == {"two"}


def test_a_name_of_another_pipelines_data_is_refused(account: Account) -> None:
    up(config(account, "one", "two"), account.aws)
    with pytest.raises(UsageError, match="no such deletion is planned"):
        plan_up(config(account, "one"), account.aws, delete_data=[bucket(account, "two")], pipeline="one")


def test_the_data_of_one_pipeline_can_be_kept(account: Account) -> None:
    both = config(account, "one", "two")
    up(both, account.aws)
    fill(account, "one")

    receipt = down(both, account.aws, plan=plan_down(both, account.aws, keep_data=True, pipeline="one"), keep_data=True)

    assert [kept.name for kept in receipt.kept] == [bucket(account, "one")]
    assert plan_down(both, account.aws, keep_data=True, pipeline="one").changes == ()
    assert set(outputs(both, account.aws)) == {"two"}


def test_outputs_name_what_there_is(deployed: Account) -> None:
    found = outputs(config(deployed), deployed.aws)["segment"]

    assert found["bucket"] == bucket(deployed)
    deployed.aws.client("s3").head_bucket(Bucket=found["bucket"])
    for name in ("work_queue_url", "dead_letter_queue_url"):
        deployed.aws.client("sqs").get_queue_attributes(QueueUrl=found[name])
    deployed.aws.client("dynamodb").describe_table(TableName=found["table"])


def test_a_strangers_queue_stops_up_before_it_begins_and_survives_down(account: Account) -> None:
    sqs = account.aws.client("sqs")
    url = sqs.create_queue(QueueName=account.aws.stack.work_queue("segment"))["QueueUrl"]
    account.calls.forget()

    with pytest.raises(NotOursError, match="was not made by gpupipe"):
        up(config(account), account.aws)

    assert account.calls.changes == []
    receipt = down(config(account), account.aws)
    assert [kept.name for kept in receipt.kept] == [account.aws.stack.work_queue("segment")]
    assert sqs.get_queue_attributes(QueueUrl=url)["ResponseMetadata"]["HTTPStatusCode"] == 200
    sqs.delete_queue(QueueUrl=url)


@held_by_plans
def test_keep_data_keeps_results_for_the_next_up(deployed: Account) -> None:
    fill(deployed)

    receipt = down(config(deployed), deployed.aws, keep_data=True)

    assert {kept.kind for kept in receipt.kept} == {"bucket", "table", "state bucket"}
    up(config(deployed), deployed.aws)
    answer = deployed.aws.client("s3").get_object(Bucket=bucket(deployed), Key="inputs/field7/a.jpg")
    assert answer["Body"].read() == b"pixels"
    assert down(config(deployed), deployed.aws).leftovers == ()


@held_by_plans
def test_down_terminates_machines_that_nobody_knows_of(deployed: Account) -> None:
    ec2 = deployed.aws.client("ec2")
    answer = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": deployed.aws.stack.launch_template("segment")},
        InstanceType="g4dn.xlarge",
        MinCount=1,
        MaxCount=1,
    )
    machine = answer["Instances"][0]["InstanceId"]
    assert status(config(deployed), deployed.aws).machines == (machine,)

    receipt = down(config(deployed), deployed.aws.gated(None))

    assert f"machine {machine}" in receipt.deleted
    (reservation,) = ec2.describe_instances(InstanceIds=[machine])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"


@pytest.mark.parametrize("step", [32, pytest.param(16, marks=pytest.mark.exhaustive)])
def test_up_finishes_and_down_removes_what_a_killed_up_left(new_account: Callable[[], Account], step: int) -> None:
    """Killed after every so many changes; every second time the next command is `down`.

    Before each operation the kinds' own tests kill it, one by one.
    """
    for number, die_after in enumerate(range(5, 200, step)):
        account = new_account()
        wanted = config(account)
        account.calls.die_after = die_after
        try:
            up(wanted, account.aws)
        except (KilledError, ApplyError):
            account.calls.forget()
            if f"{account.aws.stack.id}-state" in str(account.aws.client("s3").list_buckets()["Buckets"]):
                account.expire_lock()
        else:
            assert number >= 2
            return
        if number % 2:
            up(wanted, account.again().aws)
            assert plan_up(wanted, account.aws).is_empty
        assert down(wanted, account.again().aws).leftovers == ()
        assert plan_down(wanted, account.aws).steps == ()


def test_status_tells_what_is_there(deployed: Account) -> None:
    deployed.aws.client("logs").delete_log_group(logGroupName=deployed.aws.stack.worker_log_group("segment"))

    seen = status(config(deployed, max_receives=2), deployed.aws)

    states = {resource.name: resource.state for resource in seen.resources}
    assert states[deployed.aws.stack.worker_log_group("segment")] == "missing"
    assert states[deployed.aws.stack.work_queue("segment")] == "changed"
    assert states[deployed.aws.stack.table] == "present"
    assert not seen.is_deployed
    assert seen.usd_per_month < 1
    assert seen.document()["resources"][0].keys() >= {"kind", "name", "state"}
    assert deployed.calls.made
    assert [change for change in deployed.calls.changes if change[1] != "DeleteLogGroup"] == []


def test_status_before_the_first_up(account: Account) -> None:
    seen = status(config(account), account.aws)

    assert {resource.state for resource in seen.resources} == {"missing"}
    assert (seen.machines, seen.locked_by, seen.usd_per_month) == ((), "", 0)


def test_status_names_who_changes_the_stack_and_where_nobody_can_says_so(account: Account) -> None:
    StateBucket.of(account.aws.stack).create(account.aws)
    with Lock(account.aws, command="gpupipe up"):
        assert "(gpupipe up) since 20" in status(config(account), account.aws).locked_by
    free = status(config(account), account.aws)
    assert (free.locked_by, free.broken_off) == ("", "")
    killed = Lock(account.aws, command="gpupipe down", lease_s=0)
    killed.acquire()
    killed.abandon()
    left = status(config(account), account.aws)
    assert left.locked_by == ""
    assert f"(`gpupipe down`, process {os.getpid()})" in left.broken_off
    where = {"Bucket": account.aws.stack.state_bucket, "Key": LOCK_KEY}
    account.aws.client("s3").put_object(**where, Body=b'{"who": 1}')
    assert "the lock is damaged: without pid" in status(config(account), account.aws).locked_by


def test_plans_say_what_work_will_cost(account: Account) -> None:
    planned = plan_up(config(account), account.aws)

    assert "nothing is billed" in planned.notes[0]
    assert "$0.526 an hour" in planned.notes[1]
    assert 0 < sum(step.usd_per_month for step in planned.steps) < 1


def test_plans_say_what_is_asked_of_drop_ins_and_show_each_change(deployed: Account) -> None:
    settings: dict[str, Any] = {"dropins": {"field*": {"prompts": ["cars"], "score_threshold": 0.25}}}
    planned = plan_up(config(deployed, **settings), deployed.aws)

    assert any('drop-ins of "field*" are done with prompts = ["car"]' in note for note in planned.notes)
    assert {step.kind for step in planned.changes} == {"function"}

    up(config(deployed, **settings), deployed.aws)
    assert plan_up(config(deployed, **settings), deployed.aws).is_empty


def test_drop_ins_of_more_projects_than_an_environment_has_room_for_are_taken(account: Account) -> None:
    tables = {f"site{number}": {"prompts": ["car"], "score_threshold": 0.25} for number in range(90)}
    wanted = config(account, dropins=tables)

    up(wanted, account.aws)

    assert plan_up(wanted, account.aws).is_empty


def test_the_local_target_is_not_reached_by_a_persons_credentials(account: Account) -> None:
    with pytest.raises(UsageError):
        connect(config(account))
