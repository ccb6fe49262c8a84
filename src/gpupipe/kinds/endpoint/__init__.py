"""Kind `endpoint`: S3 -> event queue -> dispatch -> SageMaker, async from zero instances or in real time -> S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpupipe.kinds.endpoint import words
from gpupipe.kinds.endpoint.agreement import not_offered
from gpupipe.kinds.endpoint.settings import SAGEMAKER_TYPE, VARIANT_NAME, EndpointPipeline
from gpupipe.kinds.endpoint.sharding import shard_items
from gpupipe.kinds.kind import Invocation, Kind, LogSource, Site, Starter

if TYPE_CHECKING:
    from gpupipe.resources import Resource


class EndpointKind(Kind[EndpointPipeline]):
    """Instances of a SageMaker endpoint that are invoked for each shard."""

    name = "endpoint"
    settings = EndpointPipeline
    starter = Starter(pipeline="rooms", task="detect-rooms", to_fill_in=("image",))
    loads_weights_in_up = True
    unit = "instance"
    backend_word = "endpoint"

    @property
    def rules(self) -> Mapping[str, str]:
        return {
            SAGEMAKER_TYPE: "the instances of an endpoint are SageMaker's, whose types begin with ml., as in "
            '"ml.g4dn.xlarge"',
            VARIANT_NAME: "a variant's name is 1 to 16 lower-case letters, digits and hyphens, starting with a letter",
        }

    def not_offered(self, settings: EndpointPipeline, region: str) -> Iterator[str]:
        """That SageMaker is not in the region, and instance types that it does not have."""
        return not_offered(settings, region)

    def resources(self, site: Site[EndpointPipeline]) -> tuple[Resource, ...]:
        from gpupipe.kinds.endpoint.resources import resources

        return resources(site)

    def outputs(self, site: Site[EndpointPipeline]) -> Mapping[str, str]:
        from gpupipe.kinds.endpoint.outputs import outputs

        return outputs(site)

    def cost_note(self, site: Site[EndpointPipeline]) -> str:
        from gpupipe.kinds.endpoint.pricing import cost_note

        return cost_note(site.settings, site.pipeline, site.stack.region)

    def shard_items(self, settings: EndpointPipeline, items: int, seconds_per_item: float) -> int:
        return shard_items(settings, items, seconds_per_item)

    def cannot_hold(self, settings: EndpointPipeline) -> tuple[str, str]:
        if not settings.is_realtime:
            return "", ""
        why = "the endpoint of pipeline {pipeline} is realtime and always runs: a job for it cannot be held"
        return why, 'Leave --hold out, or set mode = "async".'

    def has_work_queue(self, settings: EndpointPipeline) -> bool:
        """SageMaker keeps the requests of an asynchronous one."""
        return settings.is_realtime

    def log_sources(self, site: Site[EndpointPipeline]) -> Mapping[str, LogSource]:
        stack, pipeline = site.stack, site.pipeline
        functions = {"dispatch": stack.dispatch_function, "guard": stack.guard_function}
        functions |= {"forward": stack.forward_function} if site.settings.is_realtime else {}
        functions |= {} if site.settings.is_realtime else {"callback": stack.callback_function}
        groups = {source: stack.function_log_group(name(pipeline)) for source, name in functions.items()}
        return {
            "endpoint": LogSource(group=stack.endpoint_log_group(pipeline), is_function=False),
            **{source: LogSource(group=group) for source, group in groups.items()},
        }

    def backend_text(self, status: Mapping[str, Any]) -> str:
        return words.endpoint_text(status.get("endpoint"))

    def idle_reason(self, status: Mapping[str, Any]) -> str:
        return words.idle_reason(status.get("endpoint"))

    def variants(self, settings: EndpointPipeline) -> tuple[str, ...]:
        return tuple(variant.name for variant in settings.deployed)

    def invocation(self, site: Site[EndpointPipeline]) -> Invocation:
        settings = site.settings
        own = {variant.name: settings.options_of(variant) for variant in settings.deployed}
        return Invocation(
            endpoint=site.stack.endpoint(site.pipeline),
            is_realtime=settings.is_realtime,
            timeout_s=settings.invocation_timeout_s,
            options_of=lambda variant: own.get(variant, settings.task_options),
        )


KIND = EndpointKind()
