"""How many instances an endpoint has: 0..N by its backlog (async), or 1..N by its requests and the clock (realtime)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gpupipe.kinds.endpoint.parts import Parts
from gpupipe.kinds.endpoint.serving import METRICS
from gpupipe.resources import Resource
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.scalable_target import ScalableTarget
from gpupipe.resources.scaling_policy import ScalingPolicy, Steps, Tracking
from gpupipe.resources.scheduled_action import ScheduledAction

SCALE_OUT_COOLDOWN_S = 120
"""About as long as an instance takes to serve: what it takes off the others is seen only then."""
REALTIME_SCALE_IN_S = 300
WAKE_COOLDOWN_S = 300
CONCURRENT_REQUESTS = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
"""Looked at every ten seconds: requests that end after 60 s cannot wait for a metric of minutes."""


def scaling_of(parts: Parts, endpoint: Endpoint) -> tuple[Resource, ...]:
    """For each variant its limits, and what moves it between them."""
    by_mode = _by_backlog if not parts.settings.is_realtime else _by_requests
    return tuple(one for variant in parts.settings.deployed for one in by_mode(parts, endpoint, variant.name))


def _target(parts: Parts, endpoint: Endpoint, variant: str) -> ScalableTarget:
    return ScalableTarget(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.name(f"scale-{variant}"),
        endpoint=endpoint,
        variant=variant,
        min_instances=parts.settings.compute.min_instances,
        max_instances=parts.settings.compute.max_instances,
    )


def _policy(parts: Parts, target: ScalableTarget, word: str, how: Tracking | Steps) -> ScalingPolicy:
    return ScalingPolicy(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.name(f"{word}-{target.variant}"),
        target=target,
        how=how,
    )


# --- async --------------------------------------------------------------------------------------------------


def _by_backlog(parts: Parts, endpoint: Endpoint, variant: str) -> Iterator[Resource]:
    """Tracking follows the backlog; it divides by the instances, so that at none it says nothing: one is woken by an
    alarm of its own, and the last goes by another."""
    compute = parts.settings.compute
    target = _target(parts, endpoint, variant)
    tracking = Tracking(
        value=compute.backlog_per_instance,
        metric="ApproximateBacklogSizePerInstance",
        namespace=METRICS,
        dimensions={"EndpointName": endpoint.name},
        statistic="Average",
        scale_in_cooldown_s=max(1, round(compute.idle_minutes * 60)),
        scale_out_cooldown_s=SCALE_OUT_COOLDOWN_S,
    )
    yield target
    yield _policy(parts, target, "track", tracking)
    if compute.min_instances == 0:
        wake = _policy(parts, target, "wake", Steps(adjustment=1, cooldown_s=WAKE_COOLDOWN_S))
        yield from (wake, _waiting(parts, endpoint, wake, variant))
    rest = _policy(
        parts, target, "rest", Steps(adjustment=compute.min_instances, exact=True, below=True, cooldown_s=60)
    )
    yield from (rest, _idle(parts, endpoint, rest, variant))


def _waiting(parts: Parts, endpoint: Endpoint, wake: ScalingPolicy, variant: str) -> MetricAlarm:
    """Something waits and there is no instance. The guard wakes for our own shards at once; this is for requests of
    other clients, and for when the guard cannot."""
    return MetricAlarm(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.name(f"waiting-{variant}"),
        namespace=METRICS,
        metric="HasBacklogWithoutCapacity",
        dimensions={"EndpointName": endpoint.name},
        threshold=1,
        statistic="Maximum",
        policy=wake,
        description=f"Requests wait for {endpoint.name}, which has no instance.",
    )


def _idle(parts: Parts, endpoint: Endpoint, rest: ScalingPolicy, variant: str) -> MetricAlarm:
    """Nothing waited and nothing ran for so long."""
    minutes = max(1, math.ceil(parts.settings.compute.idle_minutes))
    return MetricAlarm(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.name(f"idle-{variant}"),
        namespace=METRICS,
        metric="ApproximateBacklogSize",
        dimensions={"EndpointName": endpoint.name},
        threshold=0,
        comparison="LessThanOrEqualToThreshold",
        statistic="Maximum",
        periods=minutes,
        # An endpoint that nothing is known of has nothing to do: one that is wrongly at rest is woken, one that
        # wrongly runs is paid for.
        missing="breaching",
        policy=rest,
        description=f"{endpoint.name} had nothing to do for {minutes} min.",
    )


# --- realtime -----------------------------------------------------------------------------------------------


def _by_requests(parts: Parts, endpoint: Endpoint, variant: str) -> Iterator[Resource]:
    target = _target(parts, endpoint, variant)
    tracking = Tracking(
        value=parts.settings.compute.requests_per_instance,
        predefined=CONCURRENT_REQUESTS,
        scale_in_cooldown_s=REALTIME_SCALE_IN_S,
        scale_out_cooldown_s=SCALE_OUT_COOLDOWN_S,
    )
    yield target
    yield _policy(parts, target, "track", tracking)
    yield from _kept_warm(parts, target)


def _kept_warm(parts: Parts, target: ScalableTarget) -> Iterator[ScheduledAction]:
    warm, compute = parts.settings.keep_warm, parts.settings.compute
    if not warm.start:
        return
    times = (("warm", warm.start, warm.min_instances), ("cool", warm.end, compute.min_instances))
    for word, cron, instances in times:
        yield ScheduledAction(
            stack=parts.stack,
            pipeline=parts.pipeline,
            name=parts.name(f"{word}-{target.variant}"),
            target=target,
            schedule=f"cron({' '.join(cron.split())})",
            min_instances=instances,
            max_instances=compute.max_instances,
            timezone=warm.timezone,
        )
