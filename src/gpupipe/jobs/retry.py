"""Send a job's failed items again, as a new generation of their shards; what is done is neither repeated nor lost.

For each shard with failures a document of the next generation names just the items to repeat and carries the counts
of those that are done; a manifest, written last, is the start signal, as for a new job. Interrupted before it, the
same call writes the same documents again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from gpupipe.errors import IntegrityError, JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.listing import choose_job
from gpupipe.tasks import inputs_of
from gpuworker.contract import (
    ContractError,
    Item,
    ItemResult,
    Manifest,
    Shard,
    ShardResult,
    manifest_key,
    parse_result_key,
    read_manifest,
    read_result,
    read_shard,
    result_key,
    result_prefix,
    shard_key,
    summed,
)
from gpuworker.ledger import JobRecord, JobState, ShardRecord, ShardState

THREADS = 16


@dataclass(frozen=True, kw_only=True)
class RetriedJob:
    """What was sent again; no item means that nothing had failed."""

    job: str
    generation: int
    items: int
    shards: int


def retry_failed(
    ctx: JobsContext, job: str, *, on_progress: Callable[[int, int], None] = lambda *_: None
) -> RetriedJob:
    """Send the failed and dead items of a finished job again. `on_progress` is told (shards looked at, of how many).

    A retry that was begun before and has not been noticed yet is set going. Raises JobError where the job goes on, was
    cancelled, or is being retried at the same moment.
    """
    ctx, job = choose_job(ctx.aws, ctx.config, job=job, pipeline=ctx.pipeline)
    record = _retriable(ctx, job)
    generation = record.generation + 1
    begun = ctx.read(manifest_key(job, generation))
    if begun is not None:
        return _announced(ctx, _begun(ctx, begun, job, generation))
    with ctx.at_ledger():
        wanted = [shard for shard in ctx.ledger.shards(record.job) if shard.failed or shard.state is ShardState.DEAD]
    commits = _commits(ctx, record.job)
    shards: dict[str, int] = {}
    again = concurrently(wanted, lambda row: _again(ctx, row, commits.get(row.number, []), generation), threads=THREADS)
    with closing(again):
        for looked_at, (row, outcome) in enumerate(again, start=1):
            if isinstance(outcome, Exception):
                raise outcome
            on_progress(looked_at, len(wanted))
            if outcome:
                shards[str(row.number)] = outcome
    if shards:
        _start(ctx, record, generation, shards)
    return RetriedJob(job=record.job, generation=generation, items=sum(shards.values()), shards=len(shards))


def _begun(ctx: JobsContext, text: bytes, job: str, generation: int) -> Manifest:
    try:
        return read_manifest(text, job=job, generation=generation, pipeline=ctx.pipeline)
    except ContractError as error:
        raise _damaged(ctx, manifest_key(job, generation), error) from error


def _damaged(ctx: JobsContext, key: str, error: ContractError) -> IntegrityError:
    return IntegrityError(f"{key} in bucket {ctx.bucket} is lost or damaged: {error}.")


def _retriable(ctx: JobsContext, job: str) -> JobRecord:
    with ctx.at_ledger():
        record = ctx.ledger.job(job)
    if record is None:
        raise JobError(f"{job} has not begun yet.", hint=f"Wait for it: `gpupipe watch {job}`.")
    if record.state is JobState.CANCELLED:
        again = f"Submit the {inputs_of(record.task)[1]} again: what is uploaded stays uploaded."
        raise JobError(f"{record.job} was cancelled.", hint=again)
    if record.state is not JobState.FINISHED:
        raise JobError(f"{record.job} is not finished.", hint=f"Wait for it: `gpupipe watch {record.job}`.")
    return record


def _announced(ctx: JobsContext, begun: Manifest) -> RetriedJob:
    """A retry that was begun and that dispatch has not seen: S3's event is late or lost, so it is told again."""
    announce_manifest(ctx, begun.job, begun.generation)
    return RetriedJob(job=begun.job, generation=begun.generation, items=begun.items, shards=len(begun.shards))


def _commits(ctx: JobsContext, job: str) -> Mapping[int, list[int]]:
    """Generations committed, by shard number."""
    found: dict[int, list[int]] = {}
    for key in ctx.keys(result_prefix(job)):
        with contextlib.suppress(ContractError):  # nothing of ours
            number, generation = parse_result_key(key)
            found.setdefault(number, []).append(generation)
    return found


def _again(ctx: JobsContext, row: ShardRecord, generations: list[int], generation: int) -> int:
    """Write the shard's document of the new generation; how many items it names."""
    original = _read_shard(ctx, row.job, row.number)
    done: dict[tuple[str, str], ItemResult] = {}
    for committed in sorted(generations):
        done |= {(item.key, item.etag): item for item in _commit(ctx, row.job, row.number, committed).items}
    rest = [item for item in original.items if (item.key, item.etag) not in done]
    if not rest:
        _mend(ctx, _last_commit(ctx, row, generations))
        return 0
    ctx.write(shard_key(row.job, row.number, generation), _repeated(original, rest, done, generation).to_json())
    return len(rest)


def _repeated(original: Shard, rest: list[Item], done: Mapping[tuple[str, str], ItemResult], generation: int) -> Shard:
    carried = summed([{"done": len(done), "failed": 0}, *(item.counts for item in done.values())])
    return Shard(**{**vars(original), "generation": generation, "items": tuple(rest), "carried": carried})


def _read_shard(ctx: JobsContext, job: str, number: int) -> Shard:
    key = shard_key(job, number)
    text = ctx.read(key)
    try:
        return read_shard(text or b"", place=(job, number, 0), pipeline=ctx.pipeline)
    except ContractError as error:
        raise _damaged(ctx, key, error) from error


def _commit(ctx: JobsContext, job: str, number: int, generation: int) -> ShardResult:
    key = result_key(job, number, generation)
    try:
        return read_result(ctx.read(key) or b"", place=(job, number, generation))
    except ContractError as error:
        raise _damaged(ctx, key, error) from error


def _last_commit(ctx: JobsContext, row: ShardRecord, generations: list[int]) -> ShardResult:
    return _commit(ctx, row.job, row.number, max(generations))


def _mend(ctx: JobsContext, result: ShardResult) -> None:
    """The row says dead or failed, the commits say that all is done: its worker was killed between the two."""
    with ctx.at_ledger():
        ctx.ledger.count_result(result)


def _start(ctx: JobsContext, record: JobRecord, generation: int, shards: Mapping[str, int]) -> None:
    manifest = Manifest(
        job=record.job, pipeline=record.pipeline, project=record.project, generation=generation, shards=dict(shards)
    )
    if not ctx.write_new(manifest_key(record.job, generation), manifest.to_json()):
        raise JobError(f"{record.job} is being sent again already.", hint=f"Watch it: `gpupipe watch {record.job}`.")
