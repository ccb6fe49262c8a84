"""Carries out what was decided; small steps, each safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import (
    Action,
    BackendAction,
    CloseDropin,
    FinishJob,
    MarkDead,
    NoteRunning,
    ResendShard,
    SendShards,
    StallJob,
    Waiting,
)
from gpupipe.functions.backend import AnyBackend
from gpupipe.functions.closing import close_dropin
from gpupipe.functions.commits import mark_dead
from gpupipe.functions.context import AnyContext
from gpupipe.functions.sending import send, send_shards
from gpupipe.functions.view import AnyView
from gpuworker.contract import Message
from gpuworker.ledger import JobState, ShardRecord


class Acting:
    """What one look does, and what it learns by it."""

    def __init__(self, ctx: AnyContext, backend: AnyBackend, view: AnyView) -> None:
        self.waiting: list[Waiting] = []
        self._ctx = ctx
        self._ledger = ctx.ledger
        self._backend = backend
        self._view = view

    def carry_out(self, actions: Sequence[Action]) -> None:
        """Do what was decided; what fails is logged, told, and decided again at the next look."""
        again = [action.shard for action in actions if isinstance(action, ResendShard)]
        if again:
            self._attempt("ResendShard", partial(_send_again, self._ctx, again))
        for action in actions:
            if not isinstance(action, ResendShard):
                self._attempt(type(action).__name__, partial(self._act, action))

    def _attempt(self, what: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            log.error("guard_action_failed", error, action=what)
            told = f"The guard could not do {what}: {error}. It tries again every minute."
            self.waiting.append(Waiting(code="error", message=told))

    def _act(self, action: Action) -> None:
        match action:
            case FinishJob(job=job):
                self._ledger.finish_if_complete(job)
            case CloseDropin(record=record):
                close_dropin(self._ctx, record)
            case NoteRunning(job=job):
                waiting = {JobState.HELD, JobState.PENDING, JobState.STALLED}
                self._ledger.set_job_state(job, JobState.RUNNING, only_from=waiting)
            case StallJob(job=job, reason=reason):
                log.warning("job_stalled", job=job, reason=reason)
                moving = {JobState.PENDING, JobState.RUNNING}
                self._ledger.set_job_state(job, JobState.STALLED, reason=reason, only_from=moving)
            case MarkDead(shard=shard, reason=reason):
                mark_dead(self._ctx, shard, reason)
            case SendShards(shards=shards):
                log.info("shards_sent", of=len(shards), sent=send_shards(self._ctx, shards))
            case ResendShard(shard=shard):
                _send_again(self._ctx, [shard])
            case BackendAction():
                self._backend.act(action, self._view)


def _send_again(ctx: AnyContext, shards: Sequence[ShardRecord]) -> None:
    still_lost = [shard for shard in shards if ctx.ledger.requeue_shard(shard, sent=not ctx.begins_work)]
    named = [(shard.job, shard.number) for shard in still_lost[:20]]
    log.warning("shards_sent_again", shards=named, of=len(still_lost))
    if not ctx.begins_work:  # else they are unsent now, and sent when there is room for them
        send(ctx, [Message.of(shard.place) for shard in still_lost])
