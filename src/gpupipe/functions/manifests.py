"""A manifest becomes a running job: shard rows, a message a shard, and last the job row.

The job row of that generation therefore means that all of it is done. Killed anywhere before, the event comes again:
rows that are there stay as they are, and only shards that no worker has begun are sent once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from gpupipe.functions import log
from gpupipe.functions.context import AnyContext
from gpupipe.functions.sending import send, send_shards
from gpuworker.contract import (
    NO_OBJECT,
    ContractError,
    JobSpec,
    Manifest,
    Message,
    cancelled_key,
    error_code,
    job_key,
    manifest_key,
    read_manifest,
    read_shard,
    read_spec,
    shard_key,
)
from gpuworker.ledger import ShardRecord, ShardState, carried_items, job_of

READERS = 16


def dispatch_manifest(ctx: AnyContext, job: str, generation: int) -> bool:
    """Set a generation of a job going. False where there is nothing for a machine to do now.

    Raises ContractError or botocore's NoSuchKey where its documents are not what they should be.
    """
    record = ctx.ledger.job(job)
    pipeline = ctx.settings.pipeline
    if record is not None and record.pipeline != pipeline:
        raise ContractError(f"job {job} is of pipeline {record.pipeline}, and its documents lie in the bucket of ours")
    if record is not None and record.generation >= generation:
        log.info("manifest_known", job=job, generation=generation)
        return not record.is_over
    if record is None and generation > 0:
        dispatch_manifest(ctx, job, 0)
    spec = _spec(ctx, job)
    text = _read(ctx, manifest_key(job, generation))
    manifest = read_manifest(text, job=job, generation=generation, pipeline=pipeline, project=spec.project)
    new_rows = ctx.ledger.put_shards(_rows(ctx, _unregistered(ctx, manifest)))
    sent = _send(ctx, manifest, held=_is_held(spec, generation), all_new=new_rows == len(manifest.shards))
    if generation == 0:
        ctx.ledger.put_job(job_of(spec, items=manifest.items, shards=len(manifest.shards)))
    else:
        ctx.ledger.renew_job(job, generation)
    # Looked at only now: `cancel` first leaves its mark and then looks for the job row, so that one of the two sees
    # the other. Workers drop the messages of cancelled shards.
    if generation == 0 and _is_cancelled(ctx, job):
        ctx.ledger.cancel_job(job, "cancelled before it began")
        return False
    ctx.ledger.finish_if_complete(job)
    log.info("job_dispatched", job=job, generation=generation, shards=len(manifest.shards), sent=sent)
    return not _is_held(spec, generation)


def _spec(ctx: AnyContext, job: str) -> JobSpec:
    spec = read_spec(_read(ctx, job_key(job)), job=job, pipeline=ctx.settings.pipeline)
    if spec.task != ctx.settings.task:
        raise ContractError(f"job {job} is for the task {spec.task!r}, and this pipeline's is {ctx.settings.task}")
    return spec


def _is_held(spec: JobSpec, generation: int) -> bool:
    return spec.hold and generation == 0


def _read(ctx: AnyContext, key: str) -> bytes:
    body: bytes = ctx.s3.get_object(**ctx.in_bucket, Key=key)["Body"].read()
    return body


def _unregistered(ctx: AnyContext, manifest: Manifest) -> Manifest:
    """What has no row yet. Writing is slow and reading fast: a job too large for one invocation is done by a few."""
    known = {row.number for row in ctx.ledger.shards(manifest.job) if row.generation >= manifest.generation}
    missing = {number: items for number, items in manifest.shards.items() if int(number) not in known}
    return replace(manifest, shards=missing)


def _rows(ctx: AnyContext, manifest: Manifest) -> Iterator[ShardRecord]:
    now = ctx.clock()
    sent_at = 0.0 if ctx.begins_work else now
    carried = _carried(ctx, manifest) if manifest.generation else {}
    for number, items in sorted((int(number), items) for number, items in manifest.shards.items()):
        before = carried.get(number, {})
        yield ShardRecord(
            job=manifest.job,
            number=number,
            generation=manifest.generation,
            items=items + carried_items(before),
            carried=before,
            created_at=now,
            sent_at=sent_at,
        )


def _carried(ctx: AnyContext, manifest: Manifest) -> dict[int, dict[str, int]]:
    """What earlier generations finished of each shard; only the shards' own documents know."""

    def of(number: str) -> tuple[int, dict[str, int]]:
        place = manifest.job, int(number), manifest.generation
        text = _read(ctx, shard_key(*place))
        shard = read_shard(text, place=place, pipeline=manifest.pipeline, project=manifest.project)
        return int(number), dict(shard.carried)

    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        return dict(pool.map(of, manifest.shards))


def _send(ctx: AnyContext, manifest: Manifest, *, held: bool, all_new: bool) -> int:
    """Send the shards that nobody has begun; how many. After a redelivery the rows tell which they are."""
    if ctx.begins_work:
        rows = ctx.ledger.shards(manifest.job)
        return 0 if held else send_shards(ctx, [row for row in rows if _is_ours(row, manifest) and row.is_unsent])
    wanted = {int(number) for number in manifest.shards}
    if not all_new:
        wanted &= {row.number for row in ctx.ledger.shards(manifest.job) if _is_fresh(row, manifest.generation)}
    messages = [Message(job=manifest.job, number=n, generation=manifest.generation) for n in sorted(wanted)]
    return len(send(ctx, messages))


def _is_ours(row: ShardRecord, manifest: Manifest) -> bool:
    return row.generation == manifest.generation and str(row.number) in manifest.shards


def _is_fresh(row: ShardRecord, generation: int) -> bool:
    return (row.generation, row.state, row.started) == (generation, ShardState.PENDING, 0)


def _is_cancelled(ctx: AnyContext, job: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        ctx.s3.head_object(**ctx.in_bucket, Key=cancelled_key(job))
    except ClientError as error:
        if error_code(error) not in NO_OBJECT:
            raise
        return False
    return True
