"""The functions of an `endpoint` pipeline: dispatch and guard, and callback (async) or forward (realtime)."""

from __future__ import annotations

from functools import partial

from gpupipe.costs import price_usd_per_hour
from gpupipe.kinds.endpoint.backend import handlers
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.kinds.endpoint.parts import FORWARD_TIMEOUT_S, WORK_VISIBILITY_S, Parts
from gpupipe.kinds.endpoint.roles import (
    callback_statements,
    forward_statements,
    invokes_async,
    scales_endpoint,
    sees_endpoint,
)
from gpupipe.kinds.endpoint.sharding import drop_in_shard_items
from gpupipe.kinds.shared.intake.functions import Package, common_settings, dispatch_and_guard, with_log_and_role
from gpupipe.kinds.shared.intake.statements import looks_after_queue, queues_shards
from gpupipe.resources import Resource
from gpupipe.resources.event_source import EventSource
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
    package = Package(handlers=handlers, settings=_settings(parts))
    if parts.work is not None:
        acting = (looks_after_queue(parts.work), *sees_endpoint(parts))
        return (
            *dispatch_and_guard(parts, package, sending=(queues_shards(parts.work),), acting=acting),
            *_forward(parts, package, parts.work),
        )
    sends = (invokes_async(parts),)
    return (
        *dispatch_and_guard(parts, package, sending=sends, acting=(*sends, *scales_endpoint(parts))),
        *(_callback(parts, package, parts.error) if parts.error else ()),
    )


def _callback(parts: Parts, package: Package, topic: Topic) -> tuple[Resource, ...]:
    """Told of failures only: what succeeded is in the ledger by then."""
    callback = package.function(
        parts,
        parts.stack.callback_function(parts.pipeline),
        handlers.callback,
        callback_statements(parts),
        timeout_s=CALLBACK_TIMEOUT_S,
        async_retries=2,
        async_max_age_s=3600,
    )
    told_of_failures = Subscription(
        stack=parts.stack, pipeline=parts.pipeline, name=topic.name, topic=topic, function=callback
    )
    return (*with_log_and_role(callback), told_of_failures)


def _forward(parts: Parts, package: Package, work: Queue) -> tuple[Resource, ...]:
    name = parts.stack.forward_function(parts.pipeline)
    statements = forward_statements(parts, work)
    forward = package.function(parts, name, handlers.forward, statements, timeout_s=FORWARD_TIMEOUT_S)
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


def _settings(parts: Parts) -> EndpointSettings:
    settings, compute, region = parts.settings, parts.settings.compute, parts.stack.region
    variants = settings.deployed
    types = {one for variant in variants for one in variant.instance_types}
    return EndpointSettings(
        **common_settings(parts, shard_items=partial(drop_in_shard_items, settings)),
        mode=settings.mode,
        work_queue_url=parts.url(parts.work) if parts.work else "",
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
    )
