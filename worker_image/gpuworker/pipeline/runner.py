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
from gpuworker.pipeline.journal import Journal, ShardId
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.pipeline.stream import Stream
from gpuworker.process.gauge import Gauge, Share
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage, StorageError
from gpuworker.tasks.base import Task

READERS = 32
COMMIT_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
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
    context: WorkerContext,
    shard_run: ShardRun | None = None,
    started: int = 1,
    redelivered: bool = False,
) -> ShardResult | None:
    """Work on a shard that the ledger says is ours, up to its commit and its row; None when the run was cancelled.

    `started` is the ledger's count of starts, this one included: above 1 the shard has failed before, so what a crash
    of this machine had in its hands runs alone in a child process; if the crash was not here, all that is unfinished
    does. `redelivered` (or `started` above 1) makes it look for what is finished already. Pass a `shard_run` to follow
    the progress or to cancel. Raises StorageError, IsolatorError, ModelError and botocore's errors: then nothing is
    committed, and the shard may be run again.
    """
    shard_run = shard_run or ShardRun(shard)
    if redelivered or started > 1:
        committed = _read_commit(context.storage, shard)
        if committed is not None:
            context.log.info("shard_was_committed", job=shard.job, shard=shard.number)
            return _record(committed, context)
        _take_over_finished(shard_run, context)
    started_at = context.clock()
    alone = _suspects(shard_run, context.journal, started=started)
    if alone:
        context.log.warning("suspects_run_alone", job=shard.job, shard=shard.number, items=len(alone))
    context.journal.begin(shard_run.id)
    with context.gauge.share() as gpu:
        context.stream.add(shard_run, shard_run.unsettled(), alone=alone)
        shard_run.wait()
    if shard_run.error is not None or shard_run.cancelled:
        if not context.stream.stuck:  # else the journal has to tell the next process what of
            context.journal.forget(shard_run.id)
        if shard_run.error is not None:
            raise shard_run.error
        return None
    return _record(_commit(_result(shard_run, context, started_at=started_at, gpu=gpu), context), context)


def _suspects(shard_run: ShardRun, journal: Journal, *, started: int) -> Collection[int]:
    """Items that may have killed a worker: those this machine had in its hands, or all if it was not this machine."""
    here = journal.suspects(shard_run.id)
    if here is not None:
        return here & set(shard_run.unsettled())
    return shard_run.unsettled() if started > 1 else ()


def _take_over_finished(shard_run: ShardRun, context: WorkerContext) -> None:
    """Settle the items whose records say that this job and generation finished them."""
    shard, record_name = shard_run.shard, context.task.record_name

    def look(index: int) -> None:
        found = record.find_finished(context.storage, shard, shard.items[index], record_name=record_name)
        if found is not None:
            shard_run.settle(index, found)

    with ThreadPoolExecutor(READERS, thread_name_prefix="records") as readers:
        list(readers.map(look, shard_run.unsettled()))
    shard_run.taken_over = shard_run.progress
    context.log.info("shard_continued", job=shard.job, shard=shard.number, finished=shard_run.progress)


# --- the commit ---


def _result(shard_run: ShardRun, context: WorkerContext, *, started_at: float, gpu: Share) -> ShardResult:
    shard, outcomes = shard_run.shard, shard_run.outcomes()
    items = tuple(outcome for outcome in outcomes if isinstance(outcome, ItemResult))
    failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
    finished_at = context.clock()
    timings = {stage: round(seconds, 3) for stage, seconds in summed(item.seconds for item in items).items()}
    return ShardResult(
        job=shard.job,
        number=shard.number,
        generation=shard.generation,
        machine=context.machine,
        engine=engine_of(context, shard.options),
        header=context.task.shard_header(shard.options),
        started_at=started_at,
        finished_at=finished_at,
        items=items,
        failures=failures,
        timings={**timings, **gpu.timings(), "wall": round(finished_at - started_at, 3)},
    )


def engine_of(context: WorkerContext, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What made a result: the engine, and the endpoint's variant where there is one."""
    variant = {"variant": context.variant} if context.variant else {}
    return {**context.task.engine_info(options), **variant}


def _commit(result: ShardResult, context: WorkerContext) -> ShardResult:
    """The one commit of this shard and generation: ours, or that of the worker who was first."""
    storage = context.storage
    key = result_key(*result.place)
    data = result.to_gzip()
    for _ in range(COMMIT_ATTEMPTS):
        if storage.put_new(key, data, "application/gzip"):
            return result
        found = storage.read(key)
        if found is None:
            continue  # refused for a conflict with another write that came to nothing
        if found.data != data:  # else a retry met what its own first try had written
            context.log.warning("commit_lost", job=result.job, shard=result.number)
        return read_result(found.data, place=result.place)
    raise StorageError(f"could not write {key}: refused {COMMIT_ATTEMPTS} times, and nothing is there")


def _read_commit(storage: Storage, shard: Shard) -> ShardResult | None:
    found = storage.read(result_key(*shard.place))
    return None if found is None else read_result(found.data, place=shard.place, project=shard.project)


def _record(result: ShardResult, context: WorkerContext) -> ShardResult:
    """Project the commit onto the ledger; it may be there already."""
    ledger = context.ledger
    if ledger.count_result(result):
        ledger.finish_if_complete(result.job)
    context.journal.forget(ShardId.of(result))
    return result
