"""Carries out what was decided; small steps, each safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import (
    Action,
    CloseDropin,
    FinishJob,
    MarkDead,
    NoteRunning,
    ResendShard,
    SendShards,
    StallJob,
    Waiting,
)
from gpupipe.functions.capacity import Capacity
from gpupipe.functions.closing import close_dropin
from gpupipe.functions.commits import mark_dead
from gpupipe.functions.sending import send, send_shards, way_of
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import View
from gpuworker.contract import Message
from gpuworker.ledger import JobState, ShardRecord


class Acting:
    """What one look does, and what it learns by it."""

    def __init__(self, around: Surroundings, capacity: Capacity, view: View) -> None:
        self.waiting: list[Waiting] = []
        self._around = around
        self._ledger = around.ledger
        self._capacity = capacity
        self._view = view

    def carry_out(self, actions: Sequence[Action]) -> None:
        """Do what was decided; what fails is logged, told, and decided again at the next look."""
        again = [action.shard for action in actions if isinstance(action, ResendShard)]
        if again:
            self._attempt("ResendShard", partial(_send_again, self._around, again))
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
                close_dropin(self._around, record)
            case NoteRunning(job=job):
                waiting = {JobState.HELD, JobState.PENDING, JobState.STALLED}
                self._ledger.set_job_state(job, JobState.RUNNING, only_from=waiting)
            case StallJob(job=job, reason=reason):
                log.warning("job_stalled", job=job, reason=reason)
                moving = {JobState.PENDING, JobState.RUNNING}
                self._ledger.set_job_state(job, JobState.STALLED, reason=reason, only_from=moving)
            case MarkDead(shard=shard, reason=reason):
                mark_dead(self._around, shard, reason)
            case SendShards(shards=shards):
                log.info("shards_sent", of=len(shards), sent=send_shards(self._around, shards))
            case ResendShard(shard=shard):
                _send_again(self._around, [shard])
            case _:
                self._capacity.act(action, self._view)


def _send_again(around: Surroundings, shards: Sequence[ShardRecord]) -> None:
    begins_work = way_of(around.settings).begins_work
    still_lost = [shard for shard in shards if around.ledger.requeue_shard(shard, sent=not begins_work)]
    named = [(shard.job, shard.number) for shard in still_lost[:20]]
    log.warning("shards_sent_again", shards=named, of=len(still_lost))
    if not begins_work:  # else they are unsent now, and sent when there is room for them
        send(around, [Message.of(shard.place) for shard in still_lost])
