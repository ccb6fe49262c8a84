"""Cancel a job: what is not done yet is given up, what is done stays and can be fetched."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.errors import JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.listing import choose_job
from gpuworker.contract import cancelled_key
from gpuworker.ledger import JobState


@dataclass(frozen=True, kw_only=True)
class CancelledJob:
    """What was given up."""

    job: str
    shards: int
    """Shards cancelled by this call."""
    items_done: int
    items_cancelled: int


def cancel(ctx: JobsContext, job: str) -> CancelledJob:
    """Cancel a job; cancelling it again finishes what an interrupted call began. Raises JobError where it is finished.

    The mark in S3 comes first: a dispatch function that has not made the job's rows yet looks for it after making
    them, and this looks for rows after leaving it, so one of the two cancels.
    """
    ctx, job = choose_job(ctx.aws, ctx.config, job=job, pipeline=ctx.pipeline)
    with ctx.at_ledger():
        record = ctx.ledger.job(job)
    if record is not None and record.state is JobState.FINISHED:
        raise JobError(f"{job} is finished already.", hint=f"Fetch it: `gpupipe fetch {job}`.")
    ctx.write(cancelled_key(job), "{}")
    with ctx.at_ledger():
        shards = ctx.ledger.cancel_job(job, "cancelled by a person")
        totals = ctx.ledger.totals(job)
    return CancelledJob(
        job=job,
        shards=shards,
        items_done=totals.done + totals.failed,
        items_cancelled=totals.cancelled,
    )
