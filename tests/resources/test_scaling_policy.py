"""Scaling policy: both types as AWS takes them, and a target that may not be known yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.scaling_policy import ScalingPolicy, Steps, Tracking


@pytest.fixture
def policy(stacks: Stacks) -> ScalingPolicy:
    return Samples(stacks.mine).scaling_policy()


def configuration(aws: Aws, policy: ScalingPolicy) -> dict[str, Any]:
    (found,) = aws.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")[
        "ScalingPolicies"
    ]
    document: dict[str, Any] = found[f"{found['PolicyType']}PolicyConfiguration"]
    return document


def test_a_backlog_is_tracked(aws: Aws, policy: ScalingPolicy) -> None:
    made(aws, policy)

    tracking = configuration(aws, policy)
    assert (tracking["TargetValue"], tracking["ScaleInCooldown"]) == (4.0, 900)
    assert tracking["CustomizedMetricSpecification"]["MetricName"] == "ApproximateBacklogSizePerInstance"
    name = {"Name": "EndpointName", "Value": policy.target.endpoint.name}
    assert tracking["CustomizedMetricSpecification"]["Dimensions"] == [name]


def test_a_metric_of_aws_is_tracked(aws: Aws, policy: ScalingPolicy) -> None:
    predefined = replace(policy, how=Tracking(value=8, predefined="SageMakerVariantInvocationsPerInstance"))

    made(aws, predefined)

    measure = configuration(aws, predefined)["PredefinedMetricSpecification"]
    assert measure == {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    assert_as_wanted(aws, predefined)


@pytest.mark.parametrize(
    ("how", "adjustment_type", "step"),
    [
        (Steps(), "ChangeInCapacity", {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}),
        (
            Steps(adjustment=0, exact=True, below=True),
            "ExactCapacity",
            {"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0},
        ),
    ],
)
def test_a_step_reaches_to_one_side(
    aws: Aws, policy: ScalingPolicy, how: Steps, adjustment_type: str, step: dict[str, Any]
) -> None:
    stepping = replace(policy, how=how)

    made(aws, stepping)

    steps = configuration(aws, stepping)
    assert (steps["AdjustmentType"], steps["StepAdjustments"]) == (adjustment_type, [step])
    assert_as_wanted(aws, stepping)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ObjectNotFoundException", "No scalable target registered for service namespace: sagemaker"),
        ("ConcurrentUpdateException", "You already have a pending update to an Application Auto Scaling resource."),
    ],
)
def test_a_target_that_is_new_or_busy_is_waited_for(aws: Aws, policy: ScalingPolicy, code: str, message: str) -> None:
    with refusing(aws, "application-autoscaling", "PutScalingPolicy", code, message) as calls:
        made(aws, policy)
    with refusing(aws, "application-autoscaling", "DeleteScalingPolicy", "ConcurrentUpdateException") as deletions:
        policy.delete(aws)

    assert (len(calls), len(deletions)) == (2, 2)
    assert policy.observe(aws) is None
