"""Decides which open shards nothing is going to work on, by the way in which they are sent; pure."""

from __future__ import annotations

from collections.abc import Iterator

from gpupipe.functions.view import AnyView, JobView
from gpuworker.ledger import JobState, ShardRecord

RESENDS_A_LOOK = 500
SENDS_A_LOOK = 2_000
FAILED_PAUSE_S, FAILED_PAUSE_MAX_S = 45.0, 600.0
"""What failed is not sent again in the same minute, and ever later if it goes on failing."""
SENDING_S = 60.0
"""So long dispatch may take to send what it has just registered."""
RETRY_S = 600.0
"""So long it may take over a whole retry."""


def shows_no_life(view: AnyView, shard: ShardRecord) -> bool:
    """Has nobody who should have, given a sign of life?"""
    return view.now - shard.last_sign_at > view.delivery.patience_s(shard)


def is_hopeless(view: AnyView, shard: ShardRecord) -> bool:
    """Was it begun as often as is allowed, and will nobody else end the wait for it?"""
    return shard.started >= view.settings.max_receives and (_is_returned(shard) or shows_no_life(view, shard))


def _is_returned(shard: ShardRecord) -> bool:
    return shard.is_unsent and bool(shard.returned_at)


def lost(view: AnyView) -> list[ShardRecord]:
    """Open shards that are to be sent again."""
    certain = [shard for shard in _sent(view) if _is_certain(view, shard) and not is_hopeless(view, shard)]
    return [*certain, *_missing(view, len(certain))][:RESENDS_A_LOOK]


def _sent(view: AnyView) -> list[ShardRecord]:
    """Open shards that should be on their way, or worked on."""
    shards = [shard for job in view.jobs for shard in job.open_shards]
    return [shard for shard in shards if not shard.is_unsent] if view.delivery.begins_work else shards


def _is_certain(view: AnyView, shard: ShardRecord) -> bool:
    return view.delivery.is_lost(shard, view.now)


def _missing(view: AnyView, found: int) -> list[ShardRecord]:
    """As many of the oldest as messages or requests are missing.

    Most shards of a large job show no life for hours because their messages wait. Which messages are missing nobody
    can tell, but how many: the queue counts them. Messages come roughly in order, so the oldest are the likely ones;
    a wrong guess makes a duplicate, which a worker drops.
    """
    sent = _sent(view)
    missing = 0 if view.queue_messages is None else len(sent) - view.queue_messages - found
    if missing <= 0:
        return []
    silent = [s for s in sent if shows_no_life(view, s) and not is_hopeless(view, s) and not _is_certain(view, s)]
    silent.sort(key=lambda shard: (shard.last_sign_at, shard.job, shard.number))
    return silent[:missing]


# --- what was never sent ---


def unsent(view: AnyView) -> list[ShardRecord]:
    """Shards that are to be sent now, where that begins the work on them: as many as there is room for."""
    room = min(view.room - len(_sent(view)), SENDS_A_LOOK)
    if room <= 0:
        return []
    return [shard for job in view.jobs for shard in _due(view, job)][:room]


def _due(view: AnyView, job: JobView) -> Iterator[ShardRecord]:
    if job.record.state in (JobState.HELD, JobState.STALLED):
        return
    for shard in job.open_shards:
        since = max(shard.returned_at + _pause_s(shard), shard.created_at + _head_start_s(job, shard))
        if shard.is_unsent and view.now >= since and not is_hopeless(view, shard):
            yield shard


def _pause_s(shard: ShardRecord) -> float:
    return min(FAILED_PAUSE_MAX_S, FAILED_PAUSE_S * 2.0 ** max(0, shard.failures - 1))


def _head_start_s(job: JobView, shard: ShardRecord) -> float:
    """Dispatch may be about to send what it has just registered. The job row comes after a job's first sending."""
    if shard.generation > job.record.generation:
        return RETRY_S
    return SENDING_S if job.is_dropin and not shard.returned_at else 0.0
