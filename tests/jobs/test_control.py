"""Machines started and stopped by a guard that really runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.jobs.desk import PIPELINE, Desk, a_config

from gpupipe import provision
from gpupipe.aws import Aws
from gpupipe.errors import JobError, NotDeployedError
from gpupipe.jobs import JobsContext, control
from gpupipe.jobs.control import GuardAnswer
from gpupipe.local.emulators import Emulators
from gpupipe.names import Stack


@pytest.fixture(scope="module")
def ctx(emulated: Emulators) -> Iterator[JobsContext]:
    """A stack that is up."""
    own = emulated.account
    stack = Stack(name="control", environment="dev", account=own.account_id, region=own.region)
    keys = {"aws_access_key_id": own.access_key, "aws_secret_access_key": own.secret_key}
    aws = Aws(stack=stack, endpoints=emulated.endpoints, credentials=keys)
    config = a_config(stack)
    provision.up(config, aws)
    yield JobsContext.of(aws, config)
    provision.down(config, aws)


def states(ctx: JobsContext) -> list[str]:
    """Of the pipeline's machines."""
    stack = {"Name": "tag:gpupipe:stack", "Values": [ctx.aws.stack.id]}  # others have machines in this account too
    answer = ctx.aws.client("ec2").describe_instances(Filters=[stack])
    return [one["State"]["Name"] for reservation in answer["Reservations"] for one in reservation["Instances"]]


def test_start_and_stop_say_what_became_of_it(ctx: JobsContext) -> None:
    # given a pipeline without work
    started = control.start(ctx)
    # then a machine starts all the same, because a person asked for it
    assert (started.action, started.wanted, started.existing) == ("start", 1, 1)
    assert "was just launched" in started.message
    assert states(ctx) == ["running"]
    # and a stop stops it until the next start
    stopped = control.stop(ctx)
    assert "`gpupipe start` goes on" in stopped.message
    assert states(ctx) == ["stopped"]
    assert ctx.ledger.control(PIPELINE)["paused"] is True
    again = control.start(ctx)
    assert again.document()["existing"] == 1
    assert states(ctx) == ["running"]
    control.stop(ctx)


def test_a_guard_that_fails_tells_why(ctx: JobsContext) -> None:
    # given a ledger that somebody has deleted
    dynamodb, table = ctx.aws.client("dynamodb"), ctx.aws.stack.table
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)
    try:
        with pytest.raises(JobError, match="ResourceNotFoundException") as failed:
            control.stop(ctx)
    finally:
        provision.up(ctx.config, ctx.aws)
    assert ctx.aws.stack.guard_function(PIPELINE) in failed.value.message
    assert "gpupipe logs" in failed.value.hint


def test_without_a_guard_it_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(NotDeployedError, match="gpupipe up"):
        control.start(desk.ctx)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (GuardAnswer(action="start", pipeline="p", is_noted=True), "The guard is busy; it obeys within a minute."),
        (GuardAnswer(action="start", pipeline="p", wanted=2, existing=1), "1 of 2 machines run."),
        (GuardAnswer(action="start", pipeline="p", wanted=2, existing=2), "2 machines run."),
        (GuardAnswer(action="start", pipeline="p"), "No machine is needed now."),
        (GuardAnswer(action="start", pipeline="p", unit="instance", wanted=1, existing=1), "1 instance runs."),
        (GuardAnswer(action="start", pipeline="p", unit="instance"), "No instance is needed now."),
        (GuardAnswer(action="start", pipeline="p", unit=""), "Nothing is held back."),
        (GuardAnswer(action="stop", pipeline="p", waiting=["One.", "Two."]), "One. Two."),
    ],
)
def test_the_answer_is_told_in_plain_words(answer: GuardAnswer, message: str) -> None:
    assert answer.message == message
