"""The functions of an `endpoint` pipeline: dispatch and guard, and callback (async) or forward (realtime)."""

from __future__ import annotations

from collections.abc import Mapping

from gpupipe.costs import price_usd_per_hour
from gpupipe.pipelines.code import function_code
from gpupipe.pipelines.endpoint.parts import FORWARD_TIMEOUT_S, WORK_VISIBILITY_S, Parts
from gpupipe.pipelines.endpoint.roles import (
    callback_role,
    forward_role,
    invokes_async,
    scales_endpoint,
    sees_endpoint,
)
from gpupipe.pipelines.intake.functions import dispatch_and_guard, told, with_log_and_role
from gpupipe.pipelines.intake.statements import looks_after_queue, queues_shards
from gpupipe.resources import Resource
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.queue import Queue
from gpupipe.resources.subscription import Subscription
from gpupipe.resources.topic import Topic

CALLBACK_TIMEOUT_S = 60
REQUEST_TTL_S = 21_600.0
"""SageMaker's most."""
EVENT_SOURCE_CONCURRENCY = range(2, 1001)
"""What Lambda takes."""


def functions_of(parts: Parts) -> tuple[Resource, ...]:
    """All functions with their logs, roles and triggers."""
    environment = _told(parts)
    if parts.work is not None:
        acting = (looks_after_queue(parts.work), *sees_endpoint(parts))
        return (
            *dispatch_and_guard(parts, environment, sending=(queues_shards(parts.work),), acting=acting),
            *_forward(parts, environment, parts.work),
        )
    sends = (invokes_async(parts),)
    return (
        *dispatch_and_guard(parts, environment, sending=sends, acting=(*sends, *scales_endpoint(parts))),
        *(_callback(parts, environment, parts.error) if parts.error else ()),
    )


def _callback(parts: Parts, environment: Mapping[str, str], topic: Topic) -> tuple[Resource, ...]:
    """Told of failures only: what succeeded is in the ledger by then."""
    name = parts.stack.callback_function(parts.pipeline)
    log = parts.log_group(parts.stack.function_log_group(name))
    callback = Function(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=name,
        handler="gpupipe.functions.callback.handler",
        role=callback_role(parts, log),
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=CALLBACK_TIMEOUT_S,
        async_retries=2,
        async_max_age_s=3600,
    )
    told_of_failures = Subscription(
        stack=parts.stack, pipeline=parts.pipeline, name=topic.name, topic=topic, function=callback
    )
    return (*with_log_and_role(callback), told_of_failures)


def _forward(parts: Parts, environment: Mapping[str, str], work: Queue) -> tuple[Resource, ...]:
    name = parts.stack.forward_function(parts.pipeline)
    log = parts.log_group(parts.stack.function_log_group(name))
    forward = Function(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=name,
        handler="gpupipe.functions.forward.handler",
        role=forward_role(parts, log, work),
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=FORWARD_TIMEOUT_S,
    )
    shards = EventSource(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=work.name,
        function=forward,
        queue=work,
        batch_size=1,
        max_concurrency=_at_once(parts),
    )
    return (*with_log_and_role(forward), shards)


def _at_once(parts: Parts) -> int:
    """As many requests as all instances together work on, within what Lambda takes."""
    compute = parts.settings.compute
    wanted = compute.max_instances * compute.max_concurrency * len(parts.settings.deployed)
    return min(max(wanted, EVENT_SOURCE_CONCURRENCY[0]), EVENT_SOURCE_CONCURRENCY[-1])


def _told(parts: Parts) -> dict[str, str]:
    settings, compute, region = parts.settings, parts.settings.compute, parts.stack.region
    variants = settings.deployed
    types = {one for variant in variants for one in variant.instance_types}
    return told(
        parts,
        mode=settings.mode,
        work_queue_url=parts.url(parts.work) if parts.work else "",
        shard_items=settings.drop_in_shard_items,
        quiet_seconds=settings.quiet_seconds,
        visibility_timeout_s=WORK_VISIBILITY_S,
        max_receives=settings.max_tries,
        endpoint=parts.endpoint_name,
        variants={variant.name: variant.instance_types[0] for variant in variants},
        min_instances=compute.min_instances,
        max_instances=compute.max_instances,
        max_concurrency=compute.max_concurrency,
        invocation_timeout_s=float(settings.invocation_timeout_s),
        request_ttl_s=REQUEST_TTL_S,
        idle_minutes=compute.idle_minutes,
        prices_usd_per_hour={one: price_usd_per_hour(one, region=region) for one in sorted(types)},
        tags=parts.stack.tags(f"endpoint/{parts.pipeline}", pipeline=parts.pipeline),
    )
