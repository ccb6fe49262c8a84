"""Is a job that was started still to be worked on, or waited for? Asked before the same images are paid for twice."""

from __future__ import annotations

from gpupipe.jobs import JobsContext
from gpupipe.jobs.awaited import is_awaited
from gpuworker.contract import cancelled_key, manifest_key
from gpuworker.ledger import JobRecord

SUBMITTED = "submitted"
"""State of a job whose manifest waits for dispatch: the ledger has no row of it yet, or one of before its retry."""


def open_state(ctx: JobsContext, job: str) -> str:
    """State of a started job, a `JobState` or SUBMITTED; "" where it is over: finished, dead or cancelled.

    A stalled job is open: whichever machine comes next works on it too. So is one whose results a stopped `run` has not
    brought yet. The mark of a cancelled one is looked for last, because `cancel` leaves it before it touches the
    ledger.
    """
    with ctx.at_ledger():
        record = ctx.ledger.job(job)
        state = SUBMITTED if record is None else _state_of(ctx, record)
    if not state and record is not None and ctx.exists(manifest_key(job, record.generation + 1)):
        state = SUBMITTED  # a retry that dispatch has not seen
    if not state and record is not None and _is_to_be_brought(ctx, record):
        state = record.state.value
    return "" if ctx.exists(cancelled_key(job)) else state


def _state_of(ctx: JobsContext, record: JobRecord) -> str:
    """Of a row; one all shards of which are done or dead is over, though nobody has written that down yet."""
    is_ours = record.pipeline == ctx.pipeline and not record.is_over
    return record.state.value if is_ours and ctx.ledger.has_open_shards(record.job) else ""


def _is_to_be_brought(ctx: JobsContext, record: JobRecord) -> bool:
    """Does a `run` wait for its results, and are there any? A job that is dead as a whole is better begun anew."""
    if record.pipeline != ctx.pipeline or not is_awaited(ctx, record.job):
        return False
    with ctx.at_ledger():
        return ctx.ledger.totals(record.job).done > 0
