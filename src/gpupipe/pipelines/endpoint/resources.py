"""Kind `endpoint` as AWS resources: pure, from the pipeline's settings and the stack's names."""

from __future__ import annotations

from collections.abc import Mapping

from gpupipe.names import Stack
from gpupipe.pipelines.endpoint import EndpointPipeline
from gpupipe.pipelines.endpoint.functions import functions_of
from gpupipe.pipelines.endpoint.parts import parts_of
from gpupipe.pipelines.endpoint.scaling import scaling_of
from gpupipe.pipelines.endpoint.serving import serving_of
from gpupipe.pipelines.intake.parts import uploads_tell_dispatch
from gpupipe.resources import Resource
from gpupipe.resources.table import Table


def resources(
    settings: EndpointPipeline, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
) -> tuple[Resource, ...]:
    """Everything of the pipeline called `pipeline`; `endpoints` is empty on AWS, and the emulators' locally."""
    parts = parts_of(settings, stack, pipeline, table=table, endpoints=endpoints)
    serving = serving_of(parts)
    return (
        parts.bucket,
        *parts.queues,
        *parts.topics,
        *serving.all,
        *scaling_of(parts, serving.endpoint),
        *functions_of(parts),
        *uploads_tell_dispatch(parts),
    )
