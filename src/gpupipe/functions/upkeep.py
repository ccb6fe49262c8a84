"""Decides what jobs and shards need: to be finished, closed, sent again, marked dead or declared stalled; pure."""

from __future__ import annotations

from collections.abc import Iterator

from gpupipe.functions.actions import (
    CloseDropin,
    FinishJob,
    JobAction,
    MarkDead,
    NoteRunning,
    ResendShard,
    SendShards,
    StallJob,
)
from gpupipe.functions.lost import is_hopeless, lost, shows_no_life, unsent
from gpupipe.functions.view import AnyView, JobView
from gpuworker.ledger import Intake, JobState, MachineRecord, Run, ShardRecord, ShardState

FRUITLESS_RUNS = 3
"""Machine runs in a row that finish no shard until the job is stalled."""


def job_actions(view: AnyView) -> list[JobAction]:
    """Everything that the unfinished jobs need."""
    to_resend = {(shard.job, shard.number) for shard in lost(view)}
    actions = [action for job in view.jobs for action in (*_of_job(view, job), *_of_shards(view, job, to_resend))]
    to_send = unsent(view)
    return [*actions, SendShards(shards=to_send)] if to_send else actions


# --- jobs ---


def _of_job(view: AnyView, job: JobView) -> Iterator[JobAction]:
    record = job.record
    if record.intake is Intake.SEALED:
        if job.totals.is_complete:
            yield FinishJob(job=record.job)
    elif job.totals.is_complete and _is_quiet(view, job):
        yield CloseDropin(record=record)
    if not job.open_shards:
        return
    if any(_is_alive(view, shard) for shard in job.open_shards):
        if record.state is not JobState.RUNNING:
            yield NoteRunning(job=record.job)
    elif record.state in (JobState.PENDING, JobState.RUNNING):
        reason = _stalled_by(view, job)
        if reason:
            yield StallJob(job=record.job, reason=reason)


def _is_quiet(view: AnyView, job: JobView) -> bool:
    # A closed one was closed by a look that was killed before the manifest was written.
    return job.record.intake is Intake.CLOSED or view.now - job.last_event_at >= view.settings.quiet_seconds


def _is_alive(view: AnyView, shard: ShardRecord) -> bool:
    return shard.state is ShardState.RUNNING and not shows_no_life(view, shard)


def _stalled_by(view: AnyView, job: JobView) -> str:
    """Why no further machine should be started for this job; "" while there is hope.

    A run that reached the hard limit without finishing one shard is enough, and so is one whose worker says that only a
    person can help; so are a few short ones in a row, or a machine that dies while it starts would be started again
    every minute for ever.
    """
    if any(record.is_up and record.run_shards for record in view.records.values()):
        return ""
    runs = [(record, run) for record in view.records.values() for run in record.runs]
    fruitful = [run.stopped_at for _, run in runs if run.shards]
    since = max([job.record.created_at, job.record.woken_at, job.totals.last_finished_at or 0.0, *fruitful])
    fruitless = [(r, run) for r, run in runs if run.stopped_at > since and not run.shards and not run.interrupted]
    for record, run in fruitless:
        if run.hopeless:
            return f"the worker on machine {record.machine} could not begin: {run.reason}"
        if _reached_limit(view, run):
            hours = (view.run_limit_s or 0.0) / 3600
            return f"machine {record.machine} ran into its limit of {hours:g} h without finishing one shard"
    return _gave_up_after(fruitless) if len(fruitless) >= FRUITLESS_RUNS else ""


def _reached_limit(view: AnyView, run: Run) -> bool:
    return view.run_limit_s is not None and run.stopped_at - run.started_at >= 0.98 * view.run_limit_s


def _gave_up_after(fruitless: list[tuple[MachineRecord, Run]]) -> str:
    record, last = max(fruitless, key=lambda pair: pair[1].stopped_at)
    why = f" ({last.reason})" if last.reason else ""
    return (
        f"{len(fruitless)} machine runs in a row ended without finishing a shard, the last on {record.machine}{why}; "
        "see `gpupipe logs`"
    )


# --- shards ---


def _of_shards(view: AnyView, job: JobView, to_resend: set[tuple[str, int]]) -> Iterator[JobAction]:
    for shard in job.open_shards:
        if is_hopeless(view, shard):
            times = f"{shard.started} times" if shard.started > 1 else "once"
            reason = f"a worker began it {times} and none came back; last on {shard.machine or 'an unknown machine'}"
            yield MarkDead(shard=shard, reason=reason)
        elif (shard.job, shard.number) in to_resend:
            yield ResendShard(shard=shard)
