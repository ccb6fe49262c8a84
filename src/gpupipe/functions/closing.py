"""The end of a drop-in job: it takes no more, its manifest is written, and it is finished."""

from __future__ import annotations

from gpupipe.functions import log
from gpupipe.functions.context import AnyContext
from gpuworker.contract import Manifest, manifest_key
from gpuworker.ledger import Intake, JobRecord


def close_dropin(ctx: AnyContext, record: JobRecord) -> bool:
    """Close a quiet drop-in job; False where something arrived meanwhile. Killed anywhere, the next look goes on.

    The manifest's own S3 event comes back to dispatch, which finds the job row and does nothing.
    """
    ledger = ctx.ledger
    if record.intake is Intake.OPEN:
        _fill_gaps(ctx, record)
        if not ledger.close_dropin_job(record.pipeline, record.project, record.job, record.shards):
            return False
    shards = {str(shard.number): shard.items for shard in ledger.shards(record.job) if shard.items}
    manifest = Manifest(job=record.job, pipeline=record.pipeline, project=record.project, shards=shards)
    ctx.s3.put_object(
        **ctx.in_bucket,
        Key=manifest_key(record.job),
        Body=manifest.to_json().encode(),
        ContentType="application/json",
    )
    ledger.seal_job(record.job)
    ledger.finish_if_complete(record.job)
    log.info("dropin_job_closed", job=record.job, project=record.project, items=manifest.items, shards=len(shards))
    return True


def _fill_gaps(ctx: AnyContext, record: JobRecord) -> None:
    """Void the numbers of shards that were allocated by invocations which never registered them."""
    registered = {shard.number for shard in ctx.ledger.shards(record.job)}
    for number in range(record.shards):
        if number not in registered:
            ctx.ledger.void_shard(record.job, number)
