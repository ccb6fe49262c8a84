"""Scalable target: its bounds, its tags at birth, and an endpoint that it does not outlive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import answering
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.costs import standing_cost
from gpupipe.resources.scalable_target import ScalableTarget


@pytest.fixture
def target(stacks: Stacks) -> ScalableTarget:
    return Samples(stacks.mine).scalable_target()


def test_what_is_registered(aws: Aws, target: ScalableTarget) -> None:
    made(aws, target)

    (found,) = aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")[
        "ScalableTargets"
    ]
    assert found["ResourceId"] == f"endpoint/{target.endpoint.name}/variant/main"
    assert found["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    assert (found["MinCapacity"], found["MaxCapacity"]) == (0, 2)


def test_tags_are_given_at_birth_only(aws: Aws, target: ScalableTarget) -> None:
    made(aws, target.endpoint)
    registered: list[dict[str, Any]] = []
    events = aws.client("application-autoscaling").meta.events
    name = "provide-client-params.application-autoscaling.RegisterScalableTarget"
    events.register(name, note := lambda params, **_: registered.append(params))

    target.create(aws)
    target.update(aws, frozenset({"max_instances"}))
    events.unregister(name, note)

    assert registered[0]["Tags"]["gpupipe:stack"] == "demo-dev"
    assert "Tags" not in registered[1]


def test_that_it_is_suspended_is_told_and_no_difference(aws: Aws, target: ScalableTarget) -> None:
    made(aws, target)
    suspended = {"DynamicScalingOutSuspended": True}
    aws.client("application-autoscaling").register_scalable_target(**target.address, SuspendedState=suspended)

    observed = target.observe(aws)

    assert observed is not None
    assert observed.note == "DynamicScalingOutSuspended"
    assert_as_wanted(aws, target)


def test_one_that_the_guard_holds_at_none_stays_there(aws: Aws, target: ScalableTarget) -> None:
    """`up` while a pipeline is stopped or over budget must not start what the guard has just ended."""
    kept = replace(target, min_instances=1)
    made(aws, kept)
    scaling = aws.client("application-autoscaling")
    held = {"DynamicScalingOutSuspended": True}
    scaling.register_scalable_target(**kept.address, MinCapacity=0, SuspendedState=held)
    assert_as_wanted(aws, kept)

    more = replace(kept, max_instances=5)
    more.update(aws, frozenset({"max_instances"}))

    (found,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (0, 5)
    assert_as_wanted(aws, more)


def test_a_minimum_that_somebody_changed_is_a_difference(aws: Aws, target: ScalableTarget) -> None:
    kept = replace(target, min_instances=1)
    made(aws, kept)
    aws.client("application-autoscaling").register_scalable_target(**kept.address, MinCapacity=0)

    observed = kept.observe(aws)

    assert observed is not None
    assert observed.fields["min_instances"] == 0


def test_it_goes_with_an_endpoint_that_is_made_anew(aws: Aws, target: ScalableTarget) -> None:
    made(aws, target)
    failed = {"EndpointName": target.endpoint.name, "EndpointStatus": "Failed"}

    with answering(aws, "sagemaker", lambda operation: failed if operation == "DescribeEndpoint" else None):
        assert target.observe(aws) is None


def test_the_least_that_runs_costs_day_and_night(target: ScalableTarget) -> None:
    realtime = replace(target, min_instances=2)

    assert standing_cost(target.kind, target.priced_by).usd_per_month == 0
    assert standing_cost(target.kind, realtime.priced_by).usd_per_month == round(2 * 1.408 * 730, 2)
    assert "ml.g5.xlarge" in standing_cost(target.kind, realtime.priced_by).usage
