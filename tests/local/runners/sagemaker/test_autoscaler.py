import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.local.clients import Client
from tests.local.containers import asynchronous, make_config, make_endpoint
from tests.local.runners.sagemaker.rig import Rig, unique

from gpupipe.local.runners.sagemaker.autoscaler import (
    CONCURRENCY_METRIC,
    INVOCATIONS_METRIC,
    READ_AGAIN_S,
    Memory,
    Policy,
    ScaledVariant,
    decide,
)
from gpupipe.local.runners.sagemaker.endpoint_metrics import Load, counts, data

TRACK = Policy(metric="ApproximateBacklogSizePerInstance", target=4.0, in_cooldown_s=60.0, out_cooldown_s=30.0)
WAKE = Policy(adjustment=1)
TARGET = ScaledVariant(endpoint="e", variant="main", minimum=0, maximum=3, policies=(TRACK, WAKE))


def load(instances: int, *, backlog: int = 0, invocations: int = 0, in_flight: int = 0) -> Load:
    main = {"main": instances}
    return Load(
        endpoint="e",
        status="InService",
        asynchronous=True,
        backlog=backlog,
        desired=main,
        ready=main,
        invocations={"main": invocations},
        in_flight={"main": in_flight},
    )


@pytest.mark.parametrize(
    ("instances", "backlog", "wanted"),
    [
        (0, 0, 0),  # nothing to do and nobody there
        (0, 1, 1),  # woken by the step
        (1, 4, 1),  # four each is the target
        (1, 5, 2),
        (2, 9, 3),
        (1, 100, 3),  # the maximum
    ],
)
def test_instances_follow_the_backlog_up(instances: int, backlog: int, wanted: int) -> None:
    assert decide(TARGET, load(instances, backlog=backlog), Memory(justified_at=0.0), 0.0) == wanted


def test_instances_leave_after_the_cooldown_of_the_policy() -> None:
    # given two instances with enough to do until second 10
    memory = Memory(justified_at=-math.inf)
    assert decide(TARGET, load(2, backlog=8), memory, 10.0) == 2
    # then one is given up a minute later, both when there is nothing left to do
    assert decide(TARGET, load(2, backlog=4), memory, 69.0) == 2
    assert decide(TARGET, load(2, backlog=4), replace(memory), 70.0) == 1
    assert decide(TARGET, load(2), memory, 70.0) == 0
    # and never below the minimum
    assert decide(replace(TARGET, minimum=1), load(2), memory, 70.0) == 1


def test_another_instance_is_added_after_the_cooldown_only() -> None:
    memory = Memory(justified_at=0.0, scaled_out_at=100.0)
    assert decide(TARGET, load(1, backlog=99), memory, 129.0) == 1
    assert decide(TARGET, load(1, backlog=99), memory, 130.0) == 3
    # but nobody at all is no reason to wait
    assert decide(TARGET, load(0, backlog=1), memory, 101.0) == 1


def test_suspended_scaling_rests() -> None:
    memory = Memory(justified_at=-math.inf)
    assert decide(replace(TARGET, out_suspended=True), load(0, backlog=9), memory, 0.0) == 0
    assert decide(replace(TARGET, out_suspended=True), load(1, backlog=9), memory, 0.0) == 1
    memory = Memory(justified_at=-math.inf)
    assert decide(replace(TARGET, in_suspended=True), load(1), memory, 0.0) == 1
    no_scale_in = replace(TARGET, policies=(replace(TRACK, may_scale_in=False),))
    assert decide(no_scale_in, load(1), Memory(justified_at=-math.inf), 0.0) == 1


def test_realtime_follows_requests_a_minute_or_at_once() -> None:
    a_minute = replace(TARGET, policies=(replace(TRACK, metric=INVOCATIONS_METRIC, target=10.0),))
    memory = Memory(justified_at=0.0)
    assert decide(a_minute, load(1), memory, 0.0) == 1
    assert decide(a_minute, load(1, invocations=25), memory, 5.0) == 3
    # requests of more than a minute ago do not count
    assert decide(a_minute, load(1, invocations=30), memory, 64.0) == 1
    at_once = replace(TARGET, policies=(replace(TRACK, metric=CONCURRENCY_METRIC, target=2.0),))
    assert decide(at_once, load(1, in_flight=6), Memory(justified_at=0.0), 0.0) == 3


def test_metrics_are_those_of_sagemaker() -> None:
    found = {one["MetricName"]: one["Value"] for one in data(load(2, backlog=5))}
    expected = {"ApproximateBacklogSize": 5, "ApproximateBacklogSizePerInstance": 2.5, "HasBacklogWithoutCapacity": 0}
    assert found == expected
    assert {one["MetricName"]: one["Value"] for one in data(load(0, backlog=1))}["HasBacklogWithoutCapacity"] == 1


def test_average_of_the_errors_is_the_share_that_failed(hosted_client: Client) -> None:
    # given a variant of whose seven requests two have failed
    before, now = load(1, invocations=3), replace(load(1, invocations=10), errors={"main": 2}, endpoint=unique("e"))
    # when that is put
    cloudwatch = hosted_client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=counts(before, now))
    # then CloudWatch knows the share
    moment = datetime.now(UTC)
    dimensions = {"EndpointName": now.endpoint, "VariantName": "main"}
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=moment - timedelta(minutes=5),
        EndTime=moment + timedelta(minutes=5),
        Period=3600,
        Statistics=["Average", "Sum"],
    )["Datapoints"]
    assert (round(point["Average"], 3), point["Sum"]) == (0.286, 2)
    assert counts(now, now) == []


def register(rig: Rig, name: str, *, idle_s: int, **suspended: Any) -> None:
    """Scale `main` of the endpoint between none and two."""
    scaling = rig.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2, **suspended)
    tracking = {
        "TargetValue": 2.0,
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": name}],
            "Statistic": "Average",
        },
        "ScaleInCooldown": idle_s,
        "ScaleOutCooldown": 0,
    }
    scaling.put_scaling_policy(
        **target,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
    )
    for policy, adjustment, bound in (("wake", 1, "MetricIntervalLowerBound"), ("rest", 0, "MetricIntervalUpperBound")):
        steps = {
            "AdjustmentType": "ChangeInCapacity" if policy == "wake" else "ExactCapacity",
            "StepAdjustments": [{bound: 0.0, "ScalingAdjustment": adjustment}],
        }
        scaling.put_scaling_policy(
            **target, PolicyName=policy, PolicyType="StepScaling", StepScalingPolicyConfiguration=steps
        )


def test_endpoint_goes_to_none_and_is_woken_by_a_request(rig: Rig) -> None:
    # given an endpoint that is scaled and has nothing to do
    bucket, name = rig.bucket(), unique("endpoint")
    sagemaker = rig.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), asynchronous=asynchronous(bucket)))
    rig.settled(name)
    register(rig, name, idle_s=600)
    rig.clock.ahead_s += READ_AGAIN_S + 1
    rig.runner.step()
    assert rig.counts(name) == {"main": 1}
    # when its idle time is over, then nobody is left
    rig.clock.ahead_s += 601
    rig.step_until(lambda: rig.counts(name) == {"main": 0})
    rig.step_until(lambda: not rig.pids(name))
    # when a request comes, then an instance does it
    answer = rig.ask_async(name, rig.put(bucket, {}))
    assert rig.step_until(lambda: rig.read(answer["OutputLocation"]))
    # and CloudWatch knows of it
    metrics = rig.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker")["Metrics"]
    ours = {one["MetricName"] for one in metrics if {"Name": "EndpointName", "Value": name} in one["Dimensions"]}
    assert "ApproximateBacklogSize" in ours
    # and goes again
    rig.clock.ahead_s += 601
    rig.step_until(lambda: rig.counts(name) == {"main": 0})
