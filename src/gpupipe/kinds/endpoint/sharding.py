"""How many items a shard of an `endpoint` pipeline holds: an invocation's time, and what instances work on at once."""

from __future__ import annotations

from gpupipe.kinds.endpoint.settings import EndpointPipeline
from gpupipe.tasks import TaskOptions
from gpuworker.contract import MAX_SHARD_ITEMS, shard_size

SHARES_MAX = 64
"""Of a small job: more would be shards of one item for nothing."""
SHARD_SHARE_OF_TIMEOUT = 0.4
"""What a shard may take of an invocation's time by the estimate: a container stops at 0.8, and instances differ."""


def shard_items(settings: EndpointPipeline, items: int, seconds_per_item: float) -> int:
    """One in real time; else a share for each request that may run at once, within an invocation's time."""
    if settings.is_realtime:
        return 1
    compute = settings.compute
    shares = compute.max_instances * compute.max_concurrency * len(settings.deployed)
    by_share = shard_size(items, seconds_per_item=seconds_per_item, max_instances=min(shares, SHARES_MAX))
    return min(by_share, _items_in_time(settings, seconds_per_item))


def drop_in_shard_items(settings: EndpointPipeline, options: TaskOptions | None = None) -> int:
    """The most items of a drop-in shard, with the pipeline's options or others: nobody knows how many will come."""
    if settings.is_realtime:
        return 1
    seconds = (options or settings.task_options).seconds_per_item()
    by_time = shard_size(MAX_SHARD_ITEMS, seconds_per_item=seconds, max_instances=1)
    return min(by_time, _items_in_time(settings, seconds))


def _items_in_time(settings: EndpointPipeline, seconds_per_item: float) -> int:
    """What fits into an invocation while the instance works on as many as it may."""
    each_s = max(seconds_per_item, 1e-3) * settings.compute.max_concurrency
    return max(1, int(SHARD_SHARE_OF_TIMEOUT * settings.invocation_timeout_s / each_s))
