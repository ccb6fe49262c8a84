"""Scaling policy: by which measure, or at which alarm, a variant gets more or fewer instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, ours
from gpupipe.resources.scalable_target import ScalableTarget, met_on_targets


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Keep a measure near `value`: a metric of CloudWatch, or one that AWS has a name for (`predefined`)."""

    value: float
    metric: str = ""
    namespace: str = "AWS/SageMaker"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    statistic: str = "Average"
    predefined: str = ""
    """`SageMakerVariantInvocationsPerInstance`, …"""
    scale_in_cooldown_s: int = 300
    scale_out_cooldown_s: int = 300

    @property
    def content(self) -> dict[str, Any]:
        measure = [self.predefined] if self.predefined else [self.namespace, self.metric, self.statistic]
        return {
            "type": "TargetTrackingScaling",
            "value": float(self.value),
            "measure": measure,
            "dimensions": {} if self.predefined else dict(self.dimensions),
            "scale_in_cooldown_s": self.scale_in_cooldown_s,
            "scale_out_cooldown_s": self.scale_out_cooldown_s,
        }

    def document(self) -> dict[str, Any]:
        """As Application Auto Scaling takes it."""
        customized = {
            "Namespace": self.namespace,
            "MetricName": self.metric,
            "Statistic": self.statistic,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions.items()],
        }
        measure = (
            {"PredefinedMetricSpecification": {"PredefinedMetricType": self.predefined}}
            if self.predefined
            else {"CustomizedMetricSpecification": customized}
        )
        cooldowns = {"ScaleInCooldown": self.scale_in_cooldown_s, "ScaleOutCooldown": self.scale_out_cooldown_s}
        configuration = {"TargetValue": float(self.value), **measure, **cooldowns}
        return {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": configuration}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """At an alarm (`MetricAlarm(policy=…)`) change the count by `adjustment`, or set it to that."""

    adjustment: int = 1
    cooldown_s: int = 300
    exact: bool = False
    below: bool = False
    """Is it an alarm for what falls below its threshold? A step reaches from the threshold to one side only."""

    @property
    def content(self) -> dict[str, Any]:
        return {
            "type": "StepScaling",
            "adjustment": self.adjustment,
            "cooldown_s": self.cooldown_s,
            "exact": self.exact,
            "below": self.below,
        }

    def document(self) -> dict[str, Any]:
        """As Application Auto Scaling takes it: one step, from the alarm's threshold to one side."""
        bound = "MetricIntervalUpperBound" if self.below else "MetricIntervalLowerBound"
        configuration = {
            "AdjustmentType": "ExactCapacity" if self.exact else "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": self.cooldown_s,
            "StepAdjustments": [{bound: 0.0, "ScalingAdjustment": self.adjustment}],
        }
        return {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": configuration}


@dataclass(frozen=True, kw_only=True)
class ScalingPolicy(Resource):
    """A policy of one target."""

    kind: ClassVar[str] = "scaling policy"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    target: ScalableTarget
    how: Tracking | Steps

    def requires(self) -> tuple[Resource, ...]:
        return (self.target,)

    def desired(self) -> Fields:
        return {"how": self.how.content}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: one that belongs to an endpoint which is made anew goes with it."""
        policy = self._policy(aws)
        if policy is None or not self.target.endpoint.stays(aws):
            return None
        return Observed(owner=self.stack.id, fields={"how": _content(policy)})

    def create(self, aws: Aws) -> None:
        ours(self.target.endpoint, aws)
        if not adopted(self, aws):
            self._put(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self.target.endpoint, aws)
        self._put(aws)

    def delete(self, aws: Aws) -> None:
        ours(self.target.endpoint, aws)
        if self._policy(aws) is not None:
            delete = partial(aws.propagated, aws.client("application-autoscaling").delete_scaling_policy)
            absent_ok(delete, PolicyName=self.name, **self.target.address)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for name, target in met_on_targets(aws, "describe_scaling_policies", "ScalingPolicies", "PolicyName"):
            met = cls(stack=aws.stack, name=name, pipeline=target.pipeline, target=target, how=Steps())
            yield found(met, {})

    def arn(self, aws: Aws) -> str:
        """What an alarm names to trigger it; "" where it is not there. AWS makes it up, so it is looked up."""
        return str((self._policy(aws) or {}).get("PolicyARN", ""))

    def lasting_arn(self, aws: Aws) -> str:
        """Its ARN; "" where the endpoint is made anew, and the policy with it, under another."""
        return self.arn(aws) if self.target.endpoint.stays(aws) else ""

    def _policy(self, aws: Aws) -> Mapping[str, Any] | None:
        answer = aws.client("application-autoscaling").describe_scaling_policies(
            PolicyNames=[self.name], **self.target.address
        )
        policies: list[Mapping[str, Any]] = answer["ScalingPolicies"]
        same = (one for one in policies if one["PolicyName"] == self.name)
        return next((one for one in same if one["ResourceId"] == self.target.resource_id), None)

    def _put(self, aws: Aws) -> None:
        put = aws.client("application-autoscaling").put_scaling_policy
        aws.propagated(put, PolicyName=self.name, **self.target.address, **self.how.document())


def _content(policy: Mapping[str, Any]) -> dict[str, Any]:
    if policy["PolicyType"] == "StepScaling":
        return _steps(policy["StepScalingPolicyConfiguration"])
    return _tracking(policy.get("TargetTrackingScalingPolicyConfiguration", {}))


def _steps(configuration: Mapping[str, Any]) -> dict[str, Any]:
    steps = configuration.get("StepAdjustments", [])
    return {
        "type": "StepScaling",
        "adjustment": steps[0]["ScalingAdjustment"] if len(steps) == 1 else 0,
        "cooldown_s": configuration.get("Cooldown", 0),
        "exact": configuration.get("AdjustmentType") == "ExactCapacity",
        "below": any("MetricIntervalUpperBound" in step for step in steps),
    }


def _tracking(configuration: Mapping[str, Any]) -> dict[str, Any]:
    predefined = configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
    customized = configuration.get("CustomizedMetricSpecification", {})
    measure = [customized.get(name, "") for name in ("Namespace", "MetricName", "Statistic")]
    return {
        "type": "TargetTrackingScaling",
        "value": float(configuration.get("TargetValue", 0.0)),
        "measure": [predefined] if predefined else measure,
        "dimensions": {one["Name"]: one["Value"] for one in customized.get("Dimensions", [])},
        "scale_in_cooldown_s": configuration.get("ScaleInCooldown", 0),
        "scale_out_cooldown_s": configuration.get("ScaleOutCooldown", 0),
    }
