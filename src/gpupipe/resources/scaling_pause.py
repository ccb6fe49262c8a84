"""Autoscaling lifted from variants while an endpoint is updated, and put back as it was.

AWS refuses to change the instance type of a variant that is a scalable target, or to take it away; and deregistering
a target deletes its policies and scheduled actions.
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gpupipe.aws import Aws, absent_ok

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
# What is described and can be put: the rest is AWS's own.
TARGET = ("MinCapacity", "MaxCapacity", "SuspendedState")
POLICY = ("PolicyName", "PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration")
ACTION = ("ScheduledActionName", "Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Lifted:
    """What scaled one variant."""

    target: Document
    policies: tuple[Document, ...]
    actions: tuple[Document, ...]


def resource_id(endpoint: str, variant: str) -> str:
    """What Application Auto Scaling calls a variant."""
    return f"endpoint/{endpoint}/variant/{variant}"


def address(endpoint: str, variant: str) -> dict[str, Any]:
    """The three parameters that name a variant in every call."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": resource_id(endpoint, variant),
        "ScalableDimension": DIMENSION,
    }


@contextmanager
def lifted(aws: Aws, endpoint: str, variants: Collection[str]) -> Iterator[None]:
    """Take autoscaling off `variants`; however the block ends, put it back on those that the endpoint still has.

    A process that is killed within leaves variants unscaled: the next `up` sees that, and makes it anew.
    """
    taken = {name: found for name in variants if (found := _take_off(aws, address(endpoint, name))) is not None}
    try:
        yield
    finally:
        left = _variants_of(aws, endpoint) if taken else frozenset()
        for name in sorted(taken.keys() & left):
            _put_back(aws, address(endpoint, name), taken[name])


def _variants_of(aws: Aws, endpoint: str) -> frozenset[str]:
    """What can be scaled: nothing of an endpoint that failed, which is to be made anew."""
    answer = absent_ok(aws.client("sagemaker").describe_endpoint, EndpointName=endpoint) or {}
    variants = [] if answer.get("EndpointStatus") == "Failed" else answer.get("ProductionVariants", [])
    return frozenset(one["VariantName"] for one in variants)


def _take_off(aws: Aws, where: Mapping[str, Any]) -> _Lifted | None:
    scaling = aws.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(
        ServiceNamespace=NAMESPACE, ResourceIds=[where["ResourceId"]], ScalableDimension=DIMENSION
    )["ScalableTargets"]
    if not targets:
        return None
    policies = scaling.describe_scaling_policies(**where)["ScalingPolicies"]
    actions = scaling.describe_scheduled_actions(**where)["ScheduledActions"]
    found = _Lifted(
        target=targets[0],
        policies=tuple(one for one in policies if one["ResourceId"] == where["ResourceId"]),
        actions=tuple(actions),
    )
    absent_ok(partial(aws.propagated, scaling.deregister_scalable_target), **where)
    return found


def _put_back(aws: Aws, where: Mapping[str, Any], found: _Lifted) -> None:
    scaling = aws.client("application-autoscaling")
    aws.propagated(scaling.register_scalable_target, **where, **_only(found.target, *TARGET))
    for policy in found.policies:
        answer = aws.propagated(scaling.put_scaling_policy, **where, **_only(policy, *POLICY))
        _point_alarms(aws, policy["PolicyARN"], answer["PolicyARN"])
    for action in found.actions:
        aws.propagated(scaling.put_scheduled_action, **where, **_only(action, *ACTION))


def _point_alarms(aws: Aws, before: str, after: str) -> None:
    """A policy that was made again has another ARN: let the stack's alarms trigger that one."""
    cloudwatch = aws.client("cloudwatch")
    known = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{aws.stack.id}-")
    for alarm in [one for page in pages for one in page["MetricAlarms"] if before in one.get("AlarmActions", [])]:
        actions = [after if action == before else action for action in alarm["AlarmActions"]]
        cloudwatch.put_metric_alarm(**{**_only(alarm, *known), "AlarmActions": actions})


def _only(document: Document, *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names if document.get(name) not in (None, [], {}, "")}
