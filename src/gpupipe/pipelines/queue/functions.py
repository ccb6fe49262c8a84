"""The functions of a `queue` pipeline: what they are told of its machines and may do with them."""

from __future__ import annotations

from gpupipe.costs import price_usd_per_hour
from gpupipe.pipelines.intake.functions import dispatch_and_guard, told
from gpupipe.pipelines.intake.statements import looks_after_queue, queues_shards
from gpupipe.pipelines.queue.machines import Machines, machine_tags
from gpupipe.pipelines.queue.parts import Parts
from gpupipe.pipelines.queue.roles import launches_machines
from gpupipe.resources import Resource
from gpupipe.resources.launch_template import LaunchTemplate
from gpuworker import contract


def functions_of(parts: Parts, machines: Machines) -> tuple[Resource, ...]:
    """Both functions with their logs, roles and triggers."""
    return dispatch_and_guard(
        parts,
        _told(parts, machines.template),
        sending=(queues_shards(parts.work),),
        acting=(
            looks_after_queue(parts.work),
            *launches_machines(parts.stack, parts.pipeline, machines.template.profile.role),
        ),
    )


def _told(parts: Parts, template: LaunchTemplate) -> dict[str, str]:
    settings, compute = parts.settings, parts.settings.compute
    return told(
        parts,
        work_queue_url=parts.work_url,
        shard_items=lambda options: contract.shard_size(
            contract.MAX_SHARD_ITEMS, seconds_per_item=options.seconds_per_item(), max_instances=1
        ),
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
