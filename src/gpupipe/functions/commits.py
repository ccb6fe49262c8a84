"""The end of a shard that no worker told the ledger of: its commit is counted, or it is marked dead."""

from __future__ import annotations

from gpupipe.functions import log
from gpupipe.functions.context import AnyContext
from gpuworker.contract import ContractError, read_result, result_key
from gpuworker.ledger import ShardRecord


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
