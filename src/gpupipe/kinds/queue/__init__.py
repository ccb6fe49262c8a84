"""Kind `queue`: S3 -> event queue -> dispatch -> work queue -> GPU machines that start on demand -> S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpupipe.kinds.kind import Kind, LogSource, Site, Starter
from gpupipe.kinds.queue.settings import EC2_TYPE, QueuePipeline
from gpuworker.contract import shard_size

if TYPE_CHECKING:
    from gpupipe.resources import Resource


class QueueKind(Kind[QueuePipeline]):
    """Machines of EC2 that take shards from a queue of SQS."""

    name = "queue"
    settings = QueuePipeline
    starter = Starter(pipeline="segment", task="segment")
    loads_weights_in_up = False
    unit = "machine"
    backend_word = "fleet"

    @property
    def rules(self) -> Mapping[str, str]:
        return {EC2_TYPE: 'the machines of a queue are EC2\'s, whose types are written as in "g4dn.xlarge"'}

    def not_offered(self, settings: QueuePipeline, region: str) -> Iterator[str]:
        """Instance types that EC2 does not have."""
        from gpupipe.costs import INSTANCE_USD_PER_HOUR
        from gpupipe.offers import type_mistakes

        types = settings.compute.instance_types
        for mistake in type_mistakes(types, service="ec2", priced=INSTANCE_USD_PER_HOUR):
            yield f"compute.instance_types: {mistake}"

    def resources(self, site: Site[QueuePipeline]) -> tuple[Resource, ...]:
        from gpupipe.kinds.queue.resources import resources

        return resources(site)

    def outputs(self, site: Site[QueuePipeline]) -> Mapping[str, str]:
        from gpupipe.kinds.shared.intake.outputs import intake_outputs, work_queue_outputs

        return {**intake_outputs(site), **work_queue_outputs(site)}

    def cost_note(self, site: Site[QueuePipeline]) -> str:
        from gpupipe.kinds.queue.pricing import cost_note

        return cost_note(site.settings, site.pipeline, site.stack.region)

    def shard_items(self, settings: QueuePipeline, items: int, seconds_per_item: float) -> int:
        """Enough for every machine of the fleet to have a share."""
        return shard_size(items, seconds_per_item=seconds_per_item, max_instances=settings.compute.max_instances)

    def cannot_hold(self, settings: QueuePipeline) -> tuple[str, str]:
        return "", ""

    def has_work_queue(self, settings: QueuePipeline) -> bool:
        return True

    def log_sources(self, site: Site[QueuePipeline]) -> Mapping[str, LogSource]:
        stack, pipeline = site.stack, site.pipeline
        return {
            "worker": LogSource(group=stack.worker_log_group(pipeline), is_function=False),
            "dispatch": LogSource(group=stack.function_log_group(stack.dispatch_function(pipeline))),
            "guard": LogSource(group=stack.function_log_group(stack.guard_function(pipeline))),
        }

    def backend_text(self, status: Mapping[str, Any]) -> str:
        return ""

    def idle_reason(self, status: Mapping[str, Any]) -> str:
        return "Waiting for a machine to take a shard."


KIND = QueueKind()
