"""Kind `endpoint` as AWS resources: pure, from the pipeline's settings and the stack's names."""

from __future__ import annotations

from gpupipe.kinds.endpoint.functions import functions_of
from gpupipe.kinds.endpoint.parts import parts_of
from gpupipe.kinds.endpoint.scaling import scaling_of
from gpupipe.kinds.endpoint.serving import serving_of
from gpupipe.kinds.endpoint.settings import EndpointPipeline
from gpupipe.kinds.kind import Site
from gpupipe.kinds.shared.intake.parts import uploads_tell_dispatch
from gpupipe.resources import Resource


def resources(site: Site[EndpointPipeline]) -> tuple[Resource, ...]:
    """Everything of the pipeline."""
    parts = parts_of(site)
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
