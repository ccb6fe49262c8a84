"""How long an item takes: measured in the pipeline's last jobs where there are any, else the task's own estimate."""

from __future__ import annotations

from gpupipe.jobs import JobsContext
from gpupipe.tasks import TaskOptions
from gpuworker.contract import ContractError, job_key, read_spec
from gpuworker.ledger import JobState

JOBS_LOOKED_AT = 5
ITEMS_TO_BELIEVE = 20
"""Fewer items say more about loading the model than about an item."""
WALL = "wall"


def seconds_per_item(ctx: JobsContext, options: TaskOptions) -> float:
    """Seconds of one machine for an item, by the newest finished job of the same task and engine."""
    with ctx.at_ledger():
        for record in ctx.ledger.jobs(pipeline=ctx.pipeline, limit=JOBS_LOOKED_AT):
            if record.state is not JobState.FINISHED or record.task != ctx.settings.task:
                continue
            totals = ctx.ledger.totals(record.job)
            items, seconds = totals.done + totals.failed, totals.seconds.get(WALL, 0.0)
            if items >= ITEMS_TO_BELIEVE and seconds > 0 and _same_engine(ctx, record.job, options):
                return seconds / items
    return options.seconds_per_item()


def _same_engine(ctx: JobsContext, job: str, options: TaskOptions) -> bool:
    text = ctx.read(job_key(job))
    try:
        spec = read_spec(text or b"", job=job, pipeline=ctx.pipeline)
    except ContractError:
        return False
    return spec.options.get("engine") == getattr(options, "engine", None)
