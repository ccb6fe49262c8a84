"""Which jobs there are, those that dispatch has not seen yet included, and which one a person means."""

from __future__ import annotations

import difflib
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.errors import AwsError, JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.draft import DRAFT_LIVES_S
from gpupipe.jobs.still_open import SUBMITTED
from gpuworker.contract import (
    JOBS,
    ContractError,
    cancelled_key,
    job_key,
    job_time,
    manifest_key,
    read_manifest,
    read_spec,
)
from gpuworker.ledger import JobRecord, JobState

UPLOADING = "uploading"
"""State of a draft, which has no row in the ledger; nor has a job that is SUBMITTED."""
NEAR_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """One job in a list."""

    job: str
    project: str
    pipeline: str
    task: str
    kind: str
    state: str
    """A `JobState`, or `uploading` or `submitted`."""
    created_at: float
    items: int = 0
    shards: int = 0
    generation: int = 0
    finished_at: float | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in (JobState.FINISHED, JobState.CANCELLED)


def contexts(aws: Aws, config: Config, pipeline: str | None = None) -> list[JobsContext]:
    """The pipeline called so, or all of the stack."""
    names = [config.pipeline(pipeline)[0]] if pipeline else list(config.pipelines)
    return [JobsContext(aws=aws, config=config, pipeline=name) for name in names]


def list_jobs(
    within: Sequence[JobsContext], *, project: str | None = None, limit: int | None = None
) -> Iterator[JobSummary]:
    """Jobs of these pipelines, newest first."""
    waiting = [job for ctx in within for job in undispatched(ctx)]
    waiting.sort(key=lambda job: job.job, reverse=True)
    merged = _newest_first(waiting, known=_known(within))
    return itertools.islice((job for job in merged if project in (None, job.project)), limit)


def choose_job(
    aws: Aws, config: Config, *, job: str | None = None, project: str | None = None, pipeline: str | None = None
) -> tuple[JobsContext, str]:
    """The job called `job` or whose name alone begins so; else the newest, of `project` where that is given.

    Raises JobError, with near names, where there is none or more than one.
    """
    within = contexts(aws, config, pipeline)
    by_pipeline = {ctx.pipeline: ctx for ctx in within}
    if job:
        with within[0].at_ledger():
            exact = within[0].ledger.job(job)
        if exact is not None and exact.pipeline in by_pipeline:
            return by_pipeline[exact.pipeline], exact.job
        return _by_beginning(list(list_jobs(within)), job, by_pipeline)
    newest = next(list_jobs(within, project=project, limit=1), None)
    if newest is None:
        where = f"project {project}" if project else "this stack"
        raise JobError(f"there is no job of {where}.", hint="Start one with `gpupipe submit`; see `gpupipe jobs`.")
    return by_pipeline[newest.pipeline], newest.job


def _by_beginning(
    known: Sequence[JobSummary], beginning: str, by_pipeline: dict[str, JobsContext]
) -> tuple[JobsContext, str]:
    found = [one for one in known if one.job.startswith(beginning)]
    if len({one.job for one in found}) == 1:
        return by_pipeline[found[0].pipeline], found[0].job
    if found:
        names = ", ".join(one.job for one in found[:NEAR_SHOWN])
        raise JobError(f"{len(found)} jobs begin with {beginning}: {names}.", hint="Give more of the name.")
    every = [one.job for one in known]
    near = difflib.get_close_matches(beginning, every, n=NEAR_SHOWN, cutoff=0.5) or every[:NEAR_SHOWN]
    hint = f"Near: {', '.join(near)}." if near else "Start one with `gpupipe submit`."
    raise JobError(f"there is no job {beginning}.", hint=hint)


def undispatched(ctx: JobsContext) -> list[JobSummary]:
    """Jobs in the bucket that the ledger does not know: being uploaded, or submitted and waiting for dispatch."""
    oldest = job_time(time.time() - DRAFT_LIVES_S - 86_400)
    with ctx.at_ledger():
        known = {record.job for record in itertools.takewhile(lambda one: one.job > oldest, ctx.ledger.jobs())}
    try:
        folders = list(ctx.folders(JOBS, after=f"{JOBS}{oldest}"))
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise
        return []  # a pipeline of gpupipe.toml that no `up` has made yet; the others have jobs all the same
    names = [name for name in folders if name[:1].isdigit() and name not in known]
    return [job for name in names if (job := summary_in_bucket(ctx, name)) is not None]


def summary_in_bucket(ctx: JobsContext, job: str) -> JobSummary | None:
    """A submitted job as its documents tell it; None where there are none."""
    text = ctx.read(job_key(job))
    if text is None:
        return None
    try:
        spec = read_spec(text, job=job, pipeline=ctx.pipeline)
        start = ctx.read(manifest_key(job))
        manifest = None if start is None else read_manifest(start, job=job, generation=0, pipeline=ctx.pipeline)
    except ContractError:
        return None
    if spec.kind != "submitted":
        return None
    state: str = SUBMITTED if manifest else UPLOADING
    if ctx.exists(cancelled_key(job)):
        state = JobState.CANCELLED.value
    return JobSummary(
        job=job,
        project=spec.project,
        pipeline=spec.pipeline,
        task=spec.task,
        kind=spec.kind,
        state=state,
        created_at=spec.created_at,
        items=manifest.items if manifest else 0,
        shards=len(manifest.shards) if manifest else 0,
    )


def summary_of(record: JobRecord) -> JobSummary:
    """A job as the ledger has it."""
    return JobSummary(
        job=record.job,
        project=record.project,
        pipeline=record.pipeline,
        task=record.task,
        kind=record.kind,
        state=record.state.value,
        created_at=record.created_at,
        items=record.items,
        shards=record.shards,
        generation=record.generation,
        finished_at=record.finished_at,
        reason=record.reason,
    )


def _known(within: Sequence[JobsContext]) -> Iterator[JobSummary]:
    names = {ctx.pipeline for ctx in within}
    with within[0].at_ledger():
        for record in within[0].ledger.jobs():
            if record.pipeline in names:
                yield summary_of(record)


def _newest_first(waiting: Iterable[JobSummary], *, known: Iterable[JobSummary]) -> Iterator[JobSummary]:
    """Two sorted lists as one; a job that dispatch took up between the two looks is in both: the ledger's counts."""
    merged = heapq.merge(waiting, known, key=lambda job: job.job, reverse=True)
    for _, same in itertools.groupby(merged, key=lambda job: job.job):
        *_, newest = same
        yield newest
