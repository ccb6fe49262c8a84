"""The end of a shard that no worker told the ledger of: its commit is counted, or it is declared dead."""

from __future__ import annotations

from collections import Counter

from gpupipe.functions import log
from gpupipe.functions.context import AnyContext
from gpuworker.contract import ContractError, read_result, result_key
from gpuworker.ledger import ShardRecord


def bury(ctx: AnyContext, shard: ShardRecord, reason: str) -> None:
    """It will not be tried again: DEAD, unless all of it was written but the ledger's row."""
    if count_commit(ctx, shard):
        log.info("commit_counted", job=shard.job, shard=shard.number)
    else:
        log.warning("shard_dead", job=shard.job, shard=shard.number, reason=reason)
        ctx.ledger.bury_shard(shard.job, shard.number, shard.generation, reason)
    ctx.ledger.finish_if_complete(shard.job)


def count_commit(ctx: AnyContext, shard: ShardRecord) -> bool:
    """Tell the ledger of a commit whose worker died before it could; False where there is none."""
    place = shard.job, shard.number, shard.generation
    try:
        data = ctx.s3.get_object(**ctx.in_bucket, Key=result_key(*place))["Body"].read()
        result = read_result(data, place=place)
    except (ctx.s3.exceptions.NoSuchKey, ContractError):
        return False
    counts: Counter[str] = Counter()
    for item in result.items:
        counts.update(item.counts)
    done, failed = len(result.items), len(result.failures)
    return ctx.ledger.commit_shard(
        *place,
        done=done,
        failed=failed,
        counts=counts,
        seconds=result.timings,
        machine=result.machine,
        engine=result.made_by,
    )
