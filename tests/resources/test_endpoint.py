"""Endpoint: waiting, what is told meanwhile, and what becomes of one that fails. Changes: `test_endpoint_changes`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, converge, made
from tests.resources.refusing import Refusal, answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import AwsError
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.endpoint_state import USUALLY, Waiter, doing
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.waiting import telling


@pytest.fixture
def endpoint(stacks: Stacks) -> Endpoint:
    return Samples(stacks.mine).endpoint()


def describes(endpoint: Endpoint, *states: str, **more: Any) -> Any:
    """DescribeEndpoint as it reads in turn; then as the account has it."""
    left = iter(states)

    def answer(operation: str) -> dict[str, Any] | None:
        status = next(left, "") if operation == "DescribeEndpoint" else ""
        return description(endpoint, status, **more) if status else None

    return answer


def description(endpoint: Endpoint, status: str, **more: Any) -> dict[str, Any]:
    config = endpoint.config.aws_name
    variant = {"VariantName": "main", "CurrentInstanceCount": 0, "DesiredInstanceCount": 1}
    return {
        "EndpointName": endpoint.name,
        "EndpointStatus": status,
        "EndpointConfigName": config,
        "AsyncInferenceConfig": {"OutputConfig": {}},
        "PendingDeploymentSummary": {"EndpointConfigName": config, "ProductionVariants": [variant]},
        **more,
    }


def ready(aws: Aws, endpoint: Endpoint) -> None:
    """All that it needs."""
    for required in endpoint.requires():
        made(aws, required)


def test_creation_is_waited_for_and_told(aws: Aws, endpoint: Endpoint) -> None:
    ready(aws, endpoint)
    told: list[str] = []

    def answer(operation: str) -> dict[str, Any] | Refusal | None:
        if operation == "CreateEndpoint":
            created.append(operation)
        return creating(operation) if created else None

    created: list[str] = []
    creating = describes(endpoint, "Creating", "Creating")
    with answering(aws, "sagemaker", answer), telling(told.append):
        endpoint.create(aws)

    assert told == ["Creating (main: 0 of 1 instances); an instance usually takes 2 to 5 minutes to start"]
    assert_as_wanted(aws, endpoint)


def test_what_is_waited_for_is_said(endpoint: Endpoint) -> None:
    status = [{"Status": "Creating", "StatusMessage": "pulling the image"}]
    variant = {"VariantName": "main", "CurrentInstanceCount": 0, "DesiredInstanceCount": 2, "VariantStatus": status}
    found = description(endpoint, "Creating", PendingDeploymentSummary={"ProductionVariants": [variant]})

    assert doing(found, 240.0).startswith(
        "Creating for 4 min (main: 0 of 2 instances, pulling the image); large images"
    )
    assert doing(found, 1200.0).endswith(USUALLY[-1][1])


def test_creation_that_takes_too_long_says_how_it_stands(aws: Aws, endpoint: Endpoint) -> None:
    waiter = Waiter(aws=aws, name=endpoint.name, log_group=endpoint.log_group.name, within_s=0.1)

    with answering(aws, "sagemaker", describes(endpoint, "Creating")), pytest.raises(AwsError) as told:
        waiter.settled()

    assert f"endpoint {endpoint.name} is still Creating after" in str(told.value)
    assert "main: 0 of 1 instances" in str(told.value)
    assert "GET /ping" in str(told.value)


def test_a_failed_creation_tells_reason_log_and_remedy(aws: Aws, endpoint: Endpoint) -> None:
    ready(aws, endpoint)
    logs, group = aws.client("logs"), endpoint.log_group.name
    logs.create_log_stream(logGroupName=group, logStreamName="main/i-1")
    event = {"timestamp": int(time.time() * 1000), "message": "ImportError: libGL.so.1"}
    logs.put_log_events(logGroupName=group, logStreamName="main/i-1", logEvents=[event])
    reason = "The primary container for production variant main did not pass the ping health check."

    def answer(operation: str) -> dict[str, Any] | None:
        created.extend([operation] if operation == "CreateEndpoint" else [])
        failed = operation == "DescribeEndpoint" and created
        return description(endpoint, "Failed", FailureReason=reason) if failed else None

    created: list[str] = []
    with answering(aws, "sagemaker", answer), pytest.raises(AwsError) as told:
        endpoint.create(aws)

    assert f"endpoint {endpoint.name} is Failed: {reason}" in str(told.value)
    assert "    ImportError: libGL.so.1" in str(told.value)
    assert "docker run IMAGE serve" in told.value.hint


def test_an_up_after_a_killed_one_waits_for_what_it_began(aws: Aws, endpoint: Endpoint) -> None:
    made(aws, endpoint)

    with answering(aws, "sagemaker", describes(endpoint, "Creating")):
        observed = endpoint.observe(aws)
    assert observed is not None
    assert (observed.fields["settled"], observed.note) == (False, "Creating")
    # One look by `converge`, one by the check of whose it is, and two while it is waited for.
    with answering(aws, "sagemaker", describes(endpoint, "Creating", "Creating", "Creating", "Creating")):
        converge(aws, endpoint)

    assert_as_wanted(aws, endpoint)


def test_being_scaled_is_no_difference(aws: Aws, endpoint: Endpoint) -> None:
    made(aws, endpoint)
    variants = [
        {"VariantName": "main", "DesiredWeight": 3.0, "DesiredInstanceCount": 4},
        {"VariantName": "other", "DesiredWeight": 1.0, "DesiredInstanceCount": 0},
    ]
    scaled = describes(endpoint, "Updating", PendingDeploymentSummary=None, ProductionVariants=variants)

    with answering(aws, "sagemaker", scaled):
        assert_as_wanted(aws, endpoint)


def test_deletion_waits_until_it_may_and_until_it_is_gone(aws: Aws, endpoint: Endpoint) -> None:
    made(aws, endpoint)
    looks: list[str] = []
    creating = describes(endpoint, "Creating", "Creating", "Creating")

    def answer(operation: str) -> dict[str, Any] | None:
        looks.append(operation)
        said: dict[str, Any] | None = creating(operation)
        return said

    with answering(aws, "sagemaker", answer):
        endpoint.delete(aws)

    assert looks.index("DeleteEndpoint") > 3
    assert endpoint.observe(aws) is None


def test_a_change_that_autoscaling_gets_in_the_way_of_is_tried_again(aws: Aws, endpoint: Endpoint) -> None:
    made(aws, endpoint)
    message = 'Cannot update in-progress endpoint "arn".'

    with refusing(aws, "sagemaker", "DeleteEndpoint", "ValidationException", message) as calls:
        endpoint.delete(aws)

    assert len(calls) == 2
    assert endpoint.observe(aws) is None


def test_a_configuration_made_just_now_is_waited_for(aws: Aws, endpoint: Endpoint) -> None:
    ready(aws, endpoint)
    message = 'Could not find endpoint configuration "arn".'

    with refusing(aws, "sagemaker", "CreateEndpoint", "ValidationException", message) as calls:
        endpoint.create(aws)

    assert len(calls) == 2


def test_an_update_is_rolled_back_by_its_alarms(aws: Aws, endpoint: Endpoint, parameters: list[dict[str, Any]]) -> None:
    alarm = MetricAlarm(
        stack=endpoint.stack,
        name=f"{endpoint.name}-failing",
        namespace="AWS/SageMaker",
        metric="Invocation5XXErrors",
        dimensions={"EndpointName": endpoint.name, "VariantName": "main"},
        threshold=0.1,
    )
    guarded = replace(endpoint, rollback_alarms=(alarm,), bake_s=300)
    made(aws, guarded)
    newer = replace(guarded.config, exact_name=f"{endpoint.name}-22222222")
    made(aws, newer)

    converge(aws, replace(guarded, config=newer))

    (update,) = parameters
    deployment = update["DeploymentConfig"]
    assert deployment["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": alarm.name}]}
    assert deployment["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] == 300
    assert update["RetainAllVariantProperties"]
    assert "ExcludeRetainedVariantProperties" not in update


@pytest.fixture
def parameters(aws: Aws) -> Iterator[list[dict[str, Any]]]:
    """What UpdateEndpoint was called with."""
    seen: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append(params)

    events, name = aws.client("sagemaker").meta.events, "provide-client-params.sagemaker.UpdateEndpoint"
    events.register(name, note)
    yield seen
    events.unregister(name, note)


@pytest.mark.parametrize(
    ("status", "reason", "note"),
    [
        ("InService", "", ""),
        ("InService", "no ping", "an update was rolled back: no ping"),
        ("Failed", "no capacity", "Failed: no capacity"),
        ("Updating", "", "Updating"),
    ],
)
def test_what_a_person_should_know_is_noted(aws: Aws, endpoint: Endpoint, status: str, reason: str, note: str) -> None:
    made(aws, endpoint)

    with answering(aws, "sagemaker", describes(endpoint, status, FailureReason=reason)):
        observed = endpoint.observe(aws)

    assert observed is not None
    assert observed.note == note
