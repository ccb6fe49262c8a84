"""The functions of a `queue` pipeline: what they are told of its machines and may do with them."""

from __future__ import annotations

from gpupipe.costs import price_usd_per_hour
from gpupipe.kinds.queue.backend import handlers
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.machines import Machines, machine_tags
from gpupipe.kinds.queue.parts import Parts
from gpupipe.kinds.queue.roles import launches_machines
from gpupipe.kinds.shared.intake.functions import Package, common_settings, dispatch_and_guard
from gpupipe.kinds.shared.intake.statements import looks_after_queue, queues_shards
from gpupipe.resources import Resource
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.tasks import TaskOptions
from gpuworker import contract


def functions_of(parts: Parts, machines: Machines) -> tuple[Resource, ...]:
    """Both functions with their logs, roles and triggers."""
    return dispatch_and_guard(
        parts,
        Package(handlers=handlers, settings=_settings(parts, machines.template)),
        sending=(queues_shards(parts.work),),
        acting=(
            looks_after_queue(parts.work),
            *launches_machines(parts.stack, parts.pipeline, machines.template.profile.role),
        ),
    )


def _settings(parts: Parts, template: LaunchTemplate) -> QueueSettings:
    settings, compute = parts.settings, parts.settings.compute
    return QueueSettings(
        **common_settings(parts, shard_items=_drop_in_shard_items),
        work_queue_url=parts.work_url,
        quiet_seconds=settings.quiet_seconds,
        min_images_to_start=settings.min_images_to_start,
        max_wait_minutes=settings.max_wait_minutes,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        launch_template=template.name,
        instance_types=list(compute.instance_types),
        subnet_ids=list(settings.network.subnet_ids),
        market=compute.market,
        max_instances=compute.max_instances,
        on_idle=compute.on_idle,
        idle_minutes=compute.idle_minutes,
        max_processing_hours=compute.max_processing_hours,
        prices_usd_per_hour={
            one: price_usd_per_hour(one, compute.market, parts.stack.region) for one in compute.instance_types
        },
        tags=machine_tags(parts.stack, parts.pipeline),
    )


def _drop_in_shard_items(options: TaskOptions) -> int:
    """By time alone: nobody knows how many will come, or how many machines they will want."""
    seconds = options.seconds_per_item()
    return contract.shard_size(contract.MAX_SHARD_ITEMS, seconds_per_item=seconds, max_instances=1)
