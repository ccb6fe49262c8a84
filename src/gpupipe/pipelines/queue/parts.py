"""The parts of a `queue` pipeline that all others refer to: what takes jobs in, and the queue that shards wait in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.names import Stack
from gpupipe.pipelines.intake.parts import Intake, data_bucket, event_queue, with_dead_letters, work_queue
from gpupipe.pipelines.queue import QueuePipeline
from gpupipe.resources.queue import Queue
from gpupipe.resources.table import Table


@dataclass(frozen=True, kw_only=True)
class Parts(Intake):
    """What the other parts refer to."""

    settings: QueuePipeline
    work: Queue

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Both queues, each after the one its failures go to."""
        return with_dead_letters(self.events, self.work)

    @property
    def work_url(self) -> str:
        """The work queue's URL, for those who are told it."""
        return self.url(self.work)


def parts_of(
    settings: QueuePipeline, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
) -> Parts:
    """The parts of the pipeline called `pipeline`."""
    return Parts(
        stack=stack,
        pipeline=pipeline,
        settings=settings,
        table=table,
        bucket=data_bucket(stack, pipeline, settings.retention),
        events=event_queue(stack, pipeline),
        work=work_queue(
            stack,
            pipeline,
            visibility_timeout_s=settings.visibility_timeout_s,
            max_receives=settings.max_receives,
        ),
        endpoints=endpoints,
    )
