"""The parts of a `queue` pipeline that all others refer to: what takes jobs in, and the queue that shards wait in."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.kinds.kind import Site
from gpupipe.kinds.queue.settings import QueuePipeline
from gpupipe.kinds.shared.intake.parts import (
    Intake,
    data_bucket,
    event_queue,
    ledger_table,
    with_dead_letters,
    work_queue,
)
from gpupipe.resources.queue import Queue


@dataclass(frozen=True, kw_only=True)
class Parts(Intake):
    """What the other parts refer to."""

    site: Site[QueuePipeline]
    work: Queue

    @property
    def settings(self) -> QueuePipeline:
        return self.site.settings

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Both queues, each after the one its failures go to."""
        return with_dead_letters(self.events, self.work)

    @property
    def work_url(self) -> str:
        """The work queue's URL, for those who are told it."""
        return self.url(self.work)


def parts_of(site: Site[QueuePipeline]) -> Parts:
    """The parts of a pipeline."""
    settings = site.settings
    return Parts(
        site=site,
        table=ledger_table(site.stack),
        bucket=data_bucket(site),
        events=event_queue(site),
        work=work_queue(site, visibility_timeout_s=settings.visibility_timeout_s, max_receives=settings.max_receives),
    )
