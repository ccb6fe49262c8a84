"""Kind `queue` as AWS resources: pure, from the pipeline's settings and the stack's names."""

from __future__ import annotations

from collections.abc import Mapping

from gpupipe.names import Stack
from gpupipe.pipelines.intake.parts import uploads_tell_dispatch
from gpupipe.pipelines.queue import QueuePipeline
from gpupipe.pipelines.queue.functions import functions_of
from gpupipe.pipelines.queue.machines import machines_of
from gpupipe.pipelines.queue.parts import parts_of
from gpupipe.resources import Resource
from gpupipe.resources.table import Table


def resources(
    settings: QueuePipeline, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
) -> tuple[Resource, ...]:
    """Everything of the pipeline called `pipeline`; `endpoints` is empty on AWS, and the emulators' locally."""
    parts = parts_of(settings, stack, pipeline, table=table, endpoints=endpoints)
    machines = machines_of(parts)
    return (parts.bucket, *parts.queues, *machines.all, *functions_of(parts, machines), *uploads_tell_dispatch(parts))
