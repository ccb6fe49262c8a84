"""The facts of a report that its outcomes do not tell: whose job it is, what was asked for, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpupipe.errors import AwsError
from gpupipe.jobs.mirror import Mirror
from gpupipe.jobs.results import JobResults
from gpupipe.tasks import TASKS, options_class
from gpuworker.contract import ContractError, JobSpec, job_key, read_spec
from gpuworker.ledger import JobRecord


@dataclass(frozen=True, kw_only=True)
class About:
    """Of the newest job where there are several."""

    title: str
    """The project's name."""
    jobs: Sequence[str]
    is_project: bool = False
    pipeline: str
    task: str
    state: str
    """The job's, in the ledger's words."""
    is_complete: bool
    outstanding: int = 0
    cancelled: int = 0
    created_at: float
    options: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""
    """What everybody who looks at these results should know of the engine."""
    submitter: str = ""
    cost_usd: float | None = None

    @classmethod
    def of(
        cls,
        results: Sequence[JobResults],
        mirror: Mirror,
        *,
        project: str = "",
        notice: str = "",
        cost_usd: float | None = None,
    ) -> About:
        """Of these jobs, oldest first."""
        newest = results[-1].record
        spec = _spec(mirror, newest)
        options = spec.options if spec else {}
        return cls(
            title=newest.project,
            jobs=[one.record.job for one in results],
            is_project=bool(project),
            pipeline=newest.pipeline,
            task=newest.task,
            state=newest.state.value,
            is_complete=all(one.is_complete for one in results),
            outstanding=sum(one.totals.outstanding for one in results),
            cancelled=sum(one.totals.cancelled for one in results),
            created_at=newest.created_at,
            options=options,
            notice=notice or _notice(newest.task, options, results[-1].totals.engines),
            submitter=spec.submitter if spec else "",
            cost_usd=cost_usd,
        )


def _spec(mirror: Mirror, record: JobRecord) -> JobSpec | None:
    try:
        return read_spec(mirror.read(job_key(record.job)), job=record.job, pipeline=record.pipeline)
    except (AwsError, ContractError):
        # Results without their order are results all the same.
        return None


def _notice(task: str, options: Mapping[str, Any], made_by: Sequence[str]) -> str:
    """The task's own sentence about these options; "" for options that this version does not know."""
    try:
        return options_class(task).model_validate(options).notice(made_by=made_by) if task in TASKS else ""
    except ValueError:
        return ""
