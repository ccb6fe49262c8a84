"""Kind `queue` as AWS resources: pure, from the pipeline's settings and the stack's names."""

from __future__ import annotations

from gpupipe.kinds.kind import Site
from gpupipe.kinds.queue.functions import functions_of
from gpupipe.kinds.queue.machines import machines_of
from gpupipe.kinds.queue.parts import parts_of
from gpupipe.kinds.queue.settings import QueuePipeline
from gpupipe.kinds.shared.intake.parts import uploads_tell_dispatch
from gpupipe.resources import Resource


def resources(site: Site[QueuePipeline]) -> tuple[Resource, ...]:
    """Everything of the pipeline."""
    parts = parts_of(site)
    machines = machines_of(parts)
    return (parts.bucket, *parts.queues, *machines.all, *functions_of(parts, machines), *uploads_tell_dispatch(parts))
