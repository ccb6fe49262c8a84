"""Application Auto Scaling for the emulated endpoints: from the registered targets and policies to instance counts.

It sets the desired count by UpdateEndpointWeightsAndCapacities, as AWS does, at the moment when a policy wants it:
the minutes that CloudWatch's alarms take on AWS are left out, so that a rehearsal need not wait for them.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gpupipe.clock import SYSTEM, Clock
from gpupipe.local.runners.sagemaker.endpoint_metrics import Load

READ_AGAIN_S = 2.0
MINUTE_S = 60.0
BACKLOG_METRIC = "ApproximateBacklogSizePerInstance"
INVOCATIONS_METRIC = "SageMakerVariantInvocationsPerInstance"
CONCURRENCY_METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
CONCURRENCY_PERIOD_S = 10.0

log = logging.getLogger(__name__)
Samples = tuple[tuple[float, int], ...]
"""(when, how many)"""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A scaling policy: target tracking of a metric, or one step up when there is a backlog and no instance."""

    metric: str = ""
    """What is tracked; empty for step scaling."""
    target: float = 0.0
    in_cooldown_s: float = 300.0
    out_cooldown_s: float = 300.0
    may_scale_in: bool = True
    adjustment: int = 0
    is_exact: bool = False


@dataclass(frozen=True, kw_only=True)
class ScaledVariant:
    """A registered scalable target with its policies."""

    endpoint: str
    variant: str
    minimum: int
    maximum: int
    out_suspended: bool = False
    in_suspended: bool = False
    policies: tuple[Policy, ...] = ()


@dataclass(kw_only=True)
class Memory:
    """What an earlier look at a variant left."""

    justified_at: float
    """When its instances were last all wanted: scale-in waits from then on."""
    scaled_out_at: float = -math.inf
    invocations: Samples = ()
    """How many there had been until then."""
    in_flight: Samples = ()


class Autoscaler:
    """Looks at every registered variant and scales those that need it."""

    def __init__(self, client: Callable[[str], Any], *, clock: Clock = SYSTEM) -> None:
        self._client = client
        self._clock = clock
        self._memory: dict[tuple[str, str], Memory] = {}
        self._targets: list[ScaledVariant] = []
        self._read_at = -math.inf

    def step(self, loads: Iterable[Load]) -> None:
        """Set the desired counts that the policies want."""
        by_name = {load.endpoint: load for load in loads}
        now = self._clock.monotonic()
        if not by_name:
            return
        if now - self._read_at > READ_AGAIN_S:
            self._read_at, self._targets = now, read_targets(self._client("application-autoscaling"))
        for target in self._targets:
            load = by_name.get(target.endpoint)
            if load and load.status == "InService" and target.variant in load.desired:
                self._scale(target, load, now)

    def _scale(self, target: ScaledVariant, load: Load, now: float) -> None:
        memory = self._memory.setdefault((target.endpoint, target.variant), Memory(justified_at=now))
        current = load.desired[target.variant]
        wanted = decide(target, load, memory, now)
        if wanted == current:
            return
        log.info("%s: %s from %d to %d instances", target.endpoint, target.variant, current, wanted)
        change = {"VariantName": target.variant, "DesiredInstanceCount": wanted}
        self._client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=target.endpoint, DesiredWeightsAndCapacities=[change]
        )
        if wanted > current:
            memory.scaled_out_at = now
        memory.justified_at = now


def decide(target: ScaledVariant, load: Load, memory: Memory, now: float) -> int:
    """How many instances a variant should have now; notes in `memory` when all of them were wanted."""
    current = load.desired[target.variant]
    memory.invocations = _recent(memory.invocations, load.invocations.get(target.variant, 0), now, MINUTE_S)
    memory.in_flight = _recent(memory.in_flight, load.in_flight.get(target.variant, 0), now, CONCURRENCY_PERIOD_S)
    wishes = [_wish(policy, load, memory, current) for policy in target.policies]
    wanted = min(max((wish for wish in wishes if wish is not None), default=current), target.maximum)
    if wanted >= current:
        memory.justified_at = now
    if wanted > current:
        may_not = target.out_suspended or _cools_down(target, memory, current, now)
        return current if may_not else max(wanted, target.minimum)
    waits_s = max((policy.in_cooldown_s for policy in target.policies if policy.metric), default=math.inf)
    may_go = all(policy.may_scale_in for policy in target.policies if policy.metric) and not target.in_suspended
    if wanted < current and may_go and now - memory.justified_at >= waits_s:
        return max(wanted, target.minimum)
    return current


def _wish(policy: Policy, load: Load, memory: Memory, current: int) -> int | None:
    """What one policy wants; None if it has nothing to say."""
    if not policy.metric:
        if not load.is_without_capacity or current:
            return None
        return policy.adjustment if policy.is_exact else current + policy.adjustment
    if current == 0:
        return None  # a metric "per instance" wakes nobody
    if policy.metric == BACKLOG_METRIC:
        total = max(sum(load.desired.values()), 1)
        return math.ceil(current * (load.backlog / total) / policy.target)
    if policy.metric == INVOCATIONS_METRIC:
        return math.ceil((memory.invocations[-1][1] - memory.invocations[0][1]) / policy.target)
    if policy.metric == CONCURRENCY_METRIC:
        average = sum(count for _, count in memory.in_flight) / len(memory.in_flight)
        return math.ceil(average / policy.target)
    return None


def _cools_down(target: ScaledVariant, memory: Memory, current: int, now: float) -> bool:
    cooldown_s = max((policy.out_cooldown_s for policy in target.policies if policy.metric), default=0.0)
    return current > 0 and now - memory.scaled_out_at < cooldown_s


def _recent(samples: Samples, count: int, now: float, period_s: float) -> Samples:
    kept = tuple(pair for pair in samples if now - pair[0] <= period_s)
    return (*kept, (now, count))


def read_targets(autoscaling: Any) -> list[ScaledVariant]:
    """The registered scalable targets of SageMaker's endpoints, with their policies."""
    found = autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    policies = autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] if found else []
    return [_scaled(one, [policy for policy in policies if policy["ResourceId"] == one["ResourceId"]]) for one in found]


def _scaled(target: Mapping[str, Any], policies: list[dict[str, Any]]) -> ScaledVariant:
    _, endpoint, _, variant = target["ResourceId"].split("/")
    suspended = target.get("SuspendedState") or {}
    return ScaledVariant(
        endpoint=endpoint,
        variant=variant,
        minimum=int(target["MinCapacity"]),
        maximum=int(target["MaxCapacity"]),
        out_suspended=bool(suspended.get("DynamicScalingOutSuspended")),
        in_suspended=bool(suspended.get("DynamicScalingInSuspended")),
        policies=tuple(_policy(policy) for policy in policies),
    )


def _policy(document: Mapping[str, Any]) -> Policy:
    if tracking := document.get("TargetTrackingScalingPolicyConfiguration"):
        predefined = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
        return Policy(
            metric=predefined or tracking.get("CustomizedMetricSpecification", {}).get("MetricName", "unknown"),
            target=float(tracking["TargetValue"]),
            in_cooldown_s=float(tracking.get("ScaleInCooldown", 300)),
            out_cooldown_s=float(tracking.get("ScaleOutCooldown", 300)),
            may_scale_in=not tracking.get("DisableScaleIn", False),
        )
    steps = document.get("StepScalingPolicyConfiguration", {})
    # A step from the threshold down belongs to an alarm that nothing is there to do: tracking sees to that here.
    above = [step for step in steps.get("StepAdjustments", ()) if step.get("MetricIntervalUpperBound", math.inf) > 0]
    adjustment = max((int(step["ScalingAdjustment"]) for step in above), default=0)
    return Policy(adjustment=adjustment, is_exact=bool(above) and steps.get("AdjustmentType") == "ExactCapacity")
