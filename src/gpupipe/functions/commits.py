"""The end of a shard: a function's work is committed; what no worker told the ledger of is counted, or marked dead."""

from __future__ import annotations

from gpupipe.functions import log
from gpupipe.functions.context import AnyContext
from gpuworker.contract import OVERTAKEN, ContractError, ShardResult, error_code, read_result, result_key
from gpuworker.ledger import ShardRecord


def commit(ctx: AnyContext, result: ShardResult) -> bool:
    """Make the results of a shard visible and tell the ledger, where a function did the work; artefacts come first.

    True where the shard is done, by this commit or by one that was first; False where it was sent anew meanwhile.
    Killed between the two, the shard's next try finds what is committed and counts it (`count_commit`).
    """
    try:
        ctx.s3.put_object(
            **ctx.in_bucket,
            Key=result_key(*result.place),
            Body=result.to_gzip(),
            ContentType="application/gzip",
            IfNoneMatch="*",
        )
    except Exception as error:
        if error_code(error) not in OVERTAKEN:
            raise
    row = ctx.ledger.shard(result.job, result.number)
    return row is not None and count_commit(ctx, row)


def mark_dead(ctx: AnyContext, shard: ShardRecord, reason: str) -> None:
    """It will not be tried again: DEAD, unless all of it was written but the ledger's row."""
    if count_commit(ctx, shard):
        return
    log.warning("shard_dead", job=shard.job, shard=shard.number, reason=reason)
    ctx.ledger.mark_dead(*shard.place, reason)


def count_commit(ctx: AnyContext, shard: ShardRecord) -> bool:
    """Tell the ledger of a commit whose worker died before it could; False where there is none."""
    try:
        data = ctx.s3.get_object(**ctx.in_bucket, Key=result_key(*shard.place))["Body"].read()
        result = read_result(data, place=shard.place)
    except (ctx.s3.exceptions.NoSuchKey, ContractError):
        return False
    if not ctx.ledger.count_result(result):
        return False
    log.info("commit_counted", job=shard.job, shard=shard.number, generation=shard.generation)
    ctx.ledger.finish_if_complete(shard.job)
    return True
