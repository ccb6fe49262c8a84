"""Function, event source and schedule: roles that are not there yet, states that take their time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.code import zipped
from tests.resources.contract import Stacks, assert_as_wanted, made, recorded
from tests.resources.refusing import answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import AwsError
from gpupipe.resources.function import Function


@pytest.fixture
def function(stacks: Stacks) -> Function:
    return Samples(stacks.mine).function()


def test_a_role_that_lambda_does_not_know_yet_is_tried_again(aws: Aws, function: Function) -> None:
    for required in function.requires():
        made(aws, required)
    unknown = "The role defined for the function cannot be assumed by Lambda."

    with refusing(aws, "lambda", "CreateFunction", "InvalidParameterValueException", unknown, times=2) as calls:
        function.create(aws)

    assert len(calls) == 3
    assert_as_wanted(aws, function)


def test_an_update_under_way_is_waited_for(aws: Aws, function: Function) -> None:
    made(aws, function)
    states = ["InProgress", "InProgress"]

    def slow(operation: str) -> dict[str, object] | None:
        if operation == "GetFunctionConfiguration" and states:
            return {"State": "Active", "LastUpdateStatus": states.pop()}
        return None

    changed = replace(function, memory_mb=512)
    with answering(aws, "lambda", slow), recorded(aws) as calls:
        changed.update(aws, frozenset({"memory_mb"}))

    assert calls.index("UpdateFunctionConfiguration") > 2
    assert_as_wanted(aws, changed)


def test_a_change_that_lambda_fails_to_take_is_said(aws: Aws, function: Function) -> None:
    made(aws, function)
    failed: dict[str, object] = {
        "State": "Active",
        "LastUpdateStatus": "Failed",
        "LastUpdateStatusReason": "the zip is broken",
    }

    def failing(operation: str) -> dict[str, object] | None:
        return failed if operation == "GetFunctionConfiguration" else None

    changed = replace(function, code=zipped("def handler(event, context): return 3\n"))
    with answering(aws, "lambda", failing), pytest.raises(AwsError, match="the zip is broken"):
        changed.update(aws, frozenset({"code_sha256"}))

    # The next update is not held up by the failure of the one before.
    changed.update(aws, frozenset({"code_sha256"}))
    assert_as_wanted(aws, changed)


def test_only_what_changed_is_sent(aws: Aws, function: Function) -> None:
    made(aws, function)

    with recorded(aws) as calls:
        replace(function, environment={"A": "1"}).update(aws, frozenset({"environment"}))

    assert "UpdateFunctionConfiguration" in calls
    assert not {"UpdateFunctionCode", "TagResource", "PutFunctionEventInvokeConfig", "PutFunctionConcurrency"} & set(
        calls
    )


def test_code_never_shows_in_words(function: Function) -> None:
    assert "PK" not in repr(function)


def test_an_event_source_whose_role_may_not_read_yet_is_tried_again(aws: Aws, stacks: Stacks) -> None:
    source = Samples(stacks.mine).event_source()
    for required in source.requires():
        made(aws, required)
    denied = "The function execution role does not have permissions to call ReceiveMessage on SQS"

    with refusing(aws, "lambda", "CreateEventSourceMapping", "InvalidParameterValueException", denied) as calls:
        source.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, source)


def test_an_event_source_that_is_still_changing_is_tried_again(aws: Aws, stacks: Stacks) -> None:
    source = Samples(stacks.mine).event_source()
    made(aws, source)

    with refusing(aws, "lambda", "DeleteEventSourceMapping", "ResourceInUseException") as calls:
        source.delete(aws)

    assert len(calls) == 2
    assert source.observe(aws) is None


def test_an_event_source_takes_partial_failures_and_is_bounded(aws: Aws, stacks: Stacks) -> None:
    source = Samples(stacks.mine).event_source()
    made(aws, source)

    (mapping,) = aws.client("lambda").list_event_source_mappings(FunctionName=source.function.name)[
        "EventSourceMappings"
    ]

    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_a_schedule_whose_role_is_not_there_yet_is_tried_again(aws: Aws, stacks: Stacks) -> None:
    schedule = Samples(stacks.mine).schedule()
    for required in schedule.requires():
        made(aws, required)
    unknown = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."

    with refusing(aws, "scheduler", "CreateSchedule", "ValidationException", unknown) as calls:
        schedule.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, schedule)


def test_a_schedule_says_whose_it_is_and_how_often(aws: Aws, stacks: Stacks) -> None:
    schedule = Samples(stacks.mine).schedule()
    made(aws, schedule)

    seen = aws.client("scheduler").get_schedule(Name=schedule.name)

    assert seen["ScheduleExpression"] == "rate(1 minute)"
    assert "gpupipe:stack=demo-dev;" in seen["Description"]
    assert replace(schedule, every_minutes=5).desired()["every"] == "rate(5 minutes)"
