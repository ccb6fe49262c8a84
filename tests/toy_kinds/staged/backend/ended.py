"""Lambda `callback`: what the topic tells of executions is committed, or tried again, or given up.

Everything is decided by the ledger's row, so notifications may come twice, late or in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.commits import commit, mark_dead
from gpupipe.functions.sending import send_shards
from gpuworker.contract import read_result
from gpuworker.ledger import ShardRecord
from tests.toy_kinds.staged.backend.steps import Ctx, Step, draft_key


def callback(ctx: Ctx, event: Mapping[str, Any]) -> None:
    """Handle what an SNS event tells of. Raises where Lambda should call again."""
    for record in event.get("Records", ()):
        _handle(ctx, Step.from_json(record["Sns"]["Message"]), notice=record["Sns"]["MessageId"])


def _handle(ctx: Ctx, step: Step, *, notice: str) -> None:
    place = {"job": step.job, "shard": step.number, "generation": step.generation}
    row = ctx.ledger.shard(step.job, step.number)
    if row is None or not row.is_open or (row.generation, row.machine) != (step.generation, step.execution):
        log.info("end_is_history", **place, state=row.state if row else "missing")
    elif step.problem:
        _give_back(ctx, row, step, notice)
    else:
        draft = ctx.s3.get_object(**ctx.in_bucket, Key=draft_key(step.place))["Body"].read()
        is_done = commit(ctx, read_result(draft, place=step.place))
        log.info("shard_committed" if is_done else "shard_overtaken", **place)


def _give_back(ctx: Ctx, row: ShardRecord, step: Step, notice: str) -> None:
    """Another execution begins: it is the shard's next try."""
    if row.started >= ctx.settings.max_receives:
        mark_dead(ctx, row, f"tried {row.started} times, last: {step.problem}")
        ctx.ledger.finish_if_complete(row.job)
        return
    is_back = ctx.ledger.return_shard(row, notice, reason=step.problem, counts=False)
    log.warning("shard_returned" if is_back else "shard_moved", job=row.job, shard=row.number, reason=step.problem)
    again = ctx.ledger.shard(row.job, row.number)
    if again is not None and again.is_unsent:  # what is not sent here, the guard sends
        send_shards(ctx, [again])
