"""What goes on in a stack: its open jobs and what they wait for, what is at work, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gpupipe.aws import Aws, together
from gpupipe.config import Config
from gpupipe.errors import NotDeployedError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.listing import JobSummary, contexts, summary_of, undispatched
from gpupipe.jobs.watch import JobView, observe
from gpuworker.ledger import MachineRecord

JOBS_LOOKED_AT = 10
"""A look takes a few queries; more than fit on a screen are only counted."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One stack at one moment."""

    open_jobs: tuple[JobSummary, ...] = ()
    """Of all pipelines, the newest first."""
    views: tuple[JobView, ...] = ()
    """The newest `JOBS_LOOKED_AT` of them, looked at."""
    machines: tuple[MachineRecord, ...] = ()
    """All that the ledger remembers, gone ones included."""
    guards: Mapping[str, Mapping[str, Any]]
    """By pipeline: the guard's last look, as it wrote it; empty before the first."""
    backends: Mapping[str, str] = field(default_factory=dict)
    """By pipeline, how what does the work is, where its machines do not say it all: `endpoint: InService; …`."""
    paused: tuple[str, ...] = ()
    """The pipelines that a person has stopped."""


def overview(aws: Aws, config: Config) -> Overview | None:
    """What goes on; None where there is no ledger, so that nobody knows. Raises AwsError."""
    within = contexts(aws, config)
    try:
        jobs = sorted((job for ctx in within for job in _open(ctx)), key=lambda job: job.job, reverse=True)
        views = _looked_at(within, jobs[:JOBS_LOOKED_AT])
        with within[0].at_ledger():
            machines = tuple(one for ctx in within for one in ctx.ledger.machines(ctx.pipeline))
            guards = {ctx.pipeline: ctx.ledger.guard_status(ctx.pipeline) for ctx in within}
            paused = tuple(ctx.pipeline for ctx in within if ctx.ledger.control(ctx.pipeline).get("paused"))
    except NotDeployedError:
        return None
    return Overview(
        open_jobs=tuple(jobs),
        views=tuple(views),
        machines=machines,
        guards=guards,
        backends={ctx.pipeline: text for ctx in within if (text := _backend(ctx, guards[ctx.pipeline]))},
        paused=paused,
    )


def _backend(ctx: JobsContext, guard: Mapping[str, Any]) -> str:
    text = ctx.kind.backend_text(guard)
    return text and f"{ctx.kind.backend_word} of {ctx.pipeline}: {text}"


def _open(ctx: JobsContext) -> list[JobSummary]:
    with ctx.at_ledger():
        known = [summary_of(record) for record in ctx.ledger.active_jobs(ctx.pipeline)]
    return [job for job in (*known, *undispatched(ctx)) if not job.is_over]


def _looked_at(within: Sequence[JobsContext], jobs: Sequence[JobSummary]) -> list[JobView]:
    by_pipeline = {ctx.pipeline: ctx for ctx in within}
    return together(*(partial(observe, by_pipeline[job.pipeline], job.job, with_log=False) for job in jobs))
