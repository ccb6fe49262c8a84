"""Lambda `callback`: what SageMaker says failed of an asynchronous endpoint's work is tried again, or given up.

Everything is decided by the ledger's row and the commit in S3, so notifications may come twice, late or in any order.
What this function leaves undone where it is killed is done by the guard: a row that is PENDING and unsent is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.commits import count_commit, mark_dead
from gpupipe.functions.context import Context
from gpupipe.functions.sending import send_shards
from gpupipe.kinds.endpoint.backend.notices import Notice, ShardFailed, notice_of
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpuworker.ledger import ShardRecord, ShardState

ROUNDS = 5
"""How often a row is looked at again because it moved meanwhile."""
FAILURES_MAX = 10
"""With no worker to blame: it never began, or storage failed it. The guard sends it again, ever later, for an hour."""
CLOCKS_DIFFER_S = 2.0
GIVEN_BACK = frozenset({"time_is_up", "draining"})
"""Answers of a container that worked on the shard, and wrote down itself whether that was to no purpose."""
BLAMELESS = frozenset({*GIVEN_BACK, "starting", "overloaded"})
"""Answers that say nothing about the shard."""


class ContendedError(Exception):
    """A row moved again and again; Lambda calls once more."""


def callback(ctx: Context[EndpointSettings], event: Mapping[str, Any]) -> None:
    """Handle what an SNS event tells of, each record by itself. Raises where Lambda should call again."""
    errors: list[Exception] = []
    for record in event.get("Records", ()):
        try:
            notice = notice_of(record, bucket=ctx.settings.bucket, now=ctx.clock())
        except Exception as error:  # no call will make it readable
            log.error("notice_not_understood", error)
            continue
        try:
            _act_on(ctx, notice)
        except Exception as error:
            log.error("notice_failed", error, notice=notice.notice)
            errors.append(error)
    if errors:
        raise errors[0]


def _act_on(ctx: Context[EndpointSettings], notice: Notice) -> None:
    if isinstance(notice, ShardFailed):
        _handle(ctx, notice)
    else:
        log.warning("foreign_request_failed", location=notice.location, status=notice.status, reason=notice.reason)


def _handle(ctx: Context[EndpointSettings], failure: ShardFailed) -> None:
    place = {"job": failure.job, "shard": failure.number, "generation": failure.generation}
    if ctx.ledger.is_of_another(failure.job, ctx.settings.pipeline):
        log.warning("foreign_shard_failed", **place)
        return
    for _ in range(ROUNDS):
        row = ctx.ledger.shard(failure.job, failure.number)
        if row is None or _is_history(row, failure):
            log.info("failure_is_history", **place, state=row.state if row else "missing")
            return
        if count_commit(ctx, row):
            return
        if _is_with_another(row, failure):
            log.info("shard_is_elsewhere", **place, with_machine=row.machine)
            return
        if _conclude(ctx, row, failure):
            return
    raise ContendedError(f"shard {failure.number} of {failure.job} moved {ROUNDS} times")


def _is_history(row: ShardRecord, failure: ShardFailed) -> bool:
    """Has what it tells of been dealt with, or does the shard not need another try?"""
    if row.generation != failure.generation or not row.is_open or failure.notice in row.returned_by:
        return True
    settled_at = max(row.sent_at, row.returned_at)  # of an earlier request, whose place another has taken or will
    return row.state is ShardState.PENDING and settled_at > failure.at + CLOCKS_DIFFER_S


def _is_with_another(row: ShardRecord, failure: ShardFailed) -> bool:
    """Is a living worker at it, and what failed was a second copy of the request?

    A container that answered has given its shard back before, so one that is running has another worker. Of a worker
    that died, no sign of life came after its death.
    """
    if row.state is not ShardState.RUNNING:
        return False
    return bool(failure.code) or (row.heartbeat_at or 0.0) > failure.at + CLOCKS_DIFFER_S


def _conclude(ctx: Context[EndpointSettings], row: ShardRecord, failure: ShardFailed) -> bool:
    """Give it up or back; False where the row moved meanwhile."""
    place = {"job": row.job, "shard": row.number, "generation": row.generation}
    began = row.state is ShardState.RUNNING or failure.code in GIVEN_BACK
    counts = not (began or failure.expired or failure.code in BLAMELESS)
    if row.started >= ctx.settings.max_receives:
        mark_dead(ctx, row, f"tried {row.started} times, last: {failure.reason}")
        return True
    if counts and row.failures + 1 >= FAILURES_MAX:
        mark_dead(ctx, row, f"its request failed {FAILURES_MAX} times, last: {failure.reason}")
        return True
    if not ctx.ledger.return_shard(row, failure.notice, reason=failure.reason, counts=counts):
        return False
    again = ctx.ledger.shard(row.job, row.number) if began else None
    sent = send_shards(ctx, [again]) if again is not None and again.is_unsent else 0
    log.warning("shard_returned", **place, started=row.started, sent_again=bool(sent), reason=failure.reason)
    return True
