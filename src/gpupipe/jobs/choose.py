"""Which job a person means: an id or its beginning, a project's newest, or the newest of all."""

from __future__ import annotations

import difflib

from gpupipe.errors import JobError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpuworker.contract import ContractError, JobSpec, job_key
from gpuworker.ledger import JobRecord, JobState

SEARCHED = 1000
"""Newest jobs among which the beginning of an id is searched."""


def choose_job(ctx: JobsContext, *, job: str | None = None, project: str | None = None) -> JobRecord:
    """The job meant. One that was submitted and not dispatched yet is PENDING with no shard.

    Raises JobError, naming near ids, where there is none or several begin so.
    """
    with explained("read the ledger"):
        found = ctx.ledger.job(job) if job else None
    if found or (job and (found := _submitted(ctx, job))):
        return found
    with explained("read the ledger"):
        known = list(ctx.ledger.jobs(project=project, pipeline=ctx.pipeline, limit=SEARCHED if job else 1))
    if not job:
        if not known:
            whose = f" of project {project}" if project else ""
            raise JobError(f"there is no job{whose} yet.", hint="Start one with `gpupipe submit`.")
        return known[0]
    return _by_beginning(job, known)


def _by_beginning(job: str, known: list[JobRecord]) -> JobRecord:
    matching = [record for record in known if record.job.startswith(job)]
    if len(matching) == 1:
        return matching[0]
    ids = [record.job for record in matching or known]
    near = ids[:5] if matching else difflib.get_close_matches(job, ids, n=3, cutoff=0.5)
    what = f"{len(matching)} jobs begin with {job}" if matching else f"there is no job {job}"
    hint = f"{'Which' if matching else 'Did you mean'}: {', '.join(near)}?" if near else "`gpupipe jobs` lists them."
    raise JobError(f"{what}.", hint=hint)


def _submitted(ctx: JobsContext, job: str) -> JobRecord | None:
    """The job as its document in S3 says, for the moments before dispatch has written its row."""
    text = ctx.read(job_key(job))
    try:
        spec = JobSpec.from_json(text) if text else None
    except ContractError:
        return None
    if spec is None:
        return None
    return JobRecord(
        job=spec.job,
        pipeline=spec.pipeline,
        project=spec.project,
        task=spec.task,
        kind=spec.kind,
        state=JobState.PENDING,
        created_at=spec.created_at,
        items=0,
        shards=0,
        hold=spec.hold,
        reason="submitted; waiting for dispatch",
    )
