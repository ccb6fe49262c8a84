"""run_shard: the one way in which any entry (SQS loop, HTTP, batch) turns a shard into a commit.

Every item's artefacts are uploaded, its record last; then one conditional write makes the whole shard visible, and the
ledger's row is set to what that write says. Killed at any point and run again, here or elsewhere or twice at once, it
ends with the same single commit: at least once executed, exactly once visible, nothing lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from gpuworker.contract import Failure, ItemResult, Shard, ShardResult, read_result, result_key, summed
from gpuworker.ledger import Ledger
from gpuworker.pipeline import record
from gpuworker.pipeline.feed import Feed
from gpuworker.pipeline.journal import Journal, ShardId
from gpuworker.pipeline.stream import Stream
from gpuworker.process.gauge import Gauge, Share
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage, StorageError
from gpuworker.tasks.base import Task

READERS = 32
COMMIT_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What a process has, for whichever shards come."""

    task: Task
    stream: Stream
    storage: Storage
    ledger: Ledger
    journal: Journal
    log: Log
    machine: str
    pipeline: str
    """Whose jobs are worked on: all of a stack share a ledger."""
    variant: str = ""
    """Which of an endpoint's variants this is; results tell."""
    gauge: Gauge = field(default_factory=lambda: Gauge(None))
    clock: Callable[[], float] = time.time

    def is_of_another(self, job: str) -> bool:
        """Is it another pipeline's, so that nothing of it may be read, begun or ended here?"""
        return self.ledger.is_of_another(job, self.pipeline)


def run_shard(
    shard: Shard,
    *,
    workshop: Workshop,
    feed: Feed | None = None,
    started: int = 1,
    redelivered: bool = False,
) -> ShardResult | None:
    """Work on a shard that the ledger says is ours, up to its commit and its row; None when the feed was cancelled.

    `started` is the ledger's count of starts, this one included: above 1 the shard has failed before, so what a crash
    of this machine had in its hands runs alone in a child process; if the crash was not here, all that is unfinished
    does. `redelivered` (or `started` above 1) makes it look for what is finished already. Pass a `feed` to follow the
    progress or to cancel. Raises StorageError, IsolatorError, ModelError and botocore's errors: then nothing is
    committed, and the shard may be run again.
    """
    feed = feed or Feed(shard)
    if redelivered or started > 1:
        committed = _read_commit(workshop.storage, shard)
        if committed is not None:
            workshop.log.info("shard_was_committed", job=shard.job, shard=shard.number)
            return _recorded(committed, workshop)
        _take_over_finished(feed, workshop)
    started_at = workshop.clock()
    alone = _suspects(feed, workshop.journal, started=started)
    if alone:
        workshop.log.warning("suspects_run_alone", job=shard.job, shard=shard.number, items=len(alone))
    workshop.journal.begin(feed.id)
    with workshop.gauge.share() as gpu:
        workshop.stream.add(feed, feed.unsettled(), alone=alone)
        feed.wait()
    if feed.error is not None or feed.cancelled:
        if not workshop.stream.stuck:  # else the journal has to tell the next process what of
            workshop.journal.forget(feed.id)
        if feed.error is not None:
            raise feed.error
        return None
    return _recorded(_committed(_result(feed, workshop, started_at=started_at, gpu=gpu), workshop), workshop)


def _suspects(feed: Feed, journal: Journal, *, started: int) -> Collection[int]:
    """Items that may have killed a worker: those this machine had in its hands, or all if it was not this machine."""
    here = journal.suspects(feed.id)
    if here is not None:
        return here & set(feed.unsettled())
    return feed.unsettled() if started > 1 else ()


def _take_over_finished(feed: Feed, workshop: Workshop) -> None:
    """Settle the items whose records say that this job and generation finished them."""
    shard, record_name = feed.shard, workshop.task.record_name

    def look(index: int) -> None:
        found = record.finished(workshop.storage, shard, shard.items[index], record_name=record_name)
        if found is not None:
            feed.settle(index, found)

    with ThreadPoolExecutor(READERS, thread_name_prefix="records") as readers:
        list(readers.map(look, feed.unsettled()))
    feed.taken_over = feed.progress
    workshop.log.info("shard_continued", job=shard.job, shard=shard.number, finished=feed.progress)


# --- the commit ---


def _result(feed: Feed, workshop: Workshop, *, started_at: float, gpu: Share) -> ShardResult:
    shard, outcomes = feed.shard, feed.outcomes()
    items = tuple(outcome for outcome in outcomes if isinstance(outcome, ItemResult))
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
    finished_at = workshop.clock()
    timings = {stage: round(seconds, 3) for stage, seconds in summed(item.seconds for item in items).items()}
    return ShardResult(
        job=shard.job,
        number=shard.number,
        generation=shard.generation,
        machine=workshop.machine,
        engine=engine_of(workshop, shard.options),
        header=workshop.task.shard_header(shard.options),
        started_at=started_at,
        finished_at=finished_at,
        items=items,
        failures=failures,
        timings={**timings, **gpu.timings(), "wall": round(finished_at - started_at, 3)},
    )


def engine_of(workshop: Workshop, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What made a result: the engine, and the endpoint's variant where there is one."""
    variant = {"variant": workshop.variant} if workshop.variant else {}
    return {**workshop.task.engine_info(options), **variant}


def _committed(result: ShardResult, workshop: Workshop) -> ShardResult:
    """The one commit of this shard and generation: ours, or that of the worker who was first."""
    storage = workshop.storage
    key = result_key(*result.place)
    data = result.to_gzip()
    for _ in range(COMMIT_ATTEMPTS):
        if storage.put_new(key, data, "application/gzip"):
            return result
        found = storage.read(key)
        if found is None:
            continue  # refused for a conflict with another write that came to nothing
        if found.data != data:  # else a retry met what its own first try had written
            workshop.log.warning("commit_lost", job=result.job, shard=result.number)
        return read_result(found.data, place=result.place)
    raise StorageError(f"could not write {key}: refused {COMMIT_ATTEMPTS} times, and nothing is there")


def _read_commit(storage: Storage, shard: Shard) -> ShardResult | None:
    found = storage.read(result_key(*shard.place))
    return None if found is None else read_result(found.data, place=shard.place, project=shard.project)


def _recorded(result: ShardResult, workshop: Workshop) -> ShardResult:
    """Project the commit onto the ledger; it may be there already."""
    ledger = workshop.ledger
    if ledger.count_result(result):
        ledger.finish_if_complete(result.job)
    workshop.journal.forget(ShardId.of(result))
    return result
