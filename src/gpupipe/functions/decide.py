"""The guard's decision: from what one look saw to what is to be done; pure, so that every situation can be tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gpupipe.functions.actions import Decision, StallJob, Waiting
from gpupipe.functions.hosted_scale import hosted_scaling
from gpupipe.functions.scale import Scaling, scaling
from gpupipe.functions.upkeep import job_actions
from gpupipe.functions.view import View


class Scale(Protocol):
    """Decides about machines; `stalled` are jobs that this very look found stalled."""

    def __call__(self, view: View, *, stalled: frozenset[str]) -> Scaling: ...


SCALES: Mapping[str, Scale] = {"queue": scaling, "endpoint": hosted_scaling}
"""By kind of pipeline."""


def decide(view: View) -> Decision:
    """What to do about `view`, in the order in which to do it: jobs first, so that machines follow the work."""
    for_jobs = job_actions(view)
    stalls = [action for action in for_jobs if isinstance(action, StallJob)]
    machines = SCALES[view.settings.kind](view, stalled=frozenset(stall.job for stall in stalls))
    waiting = [
        *(Waiting(code="stalled", message=f"Job {stall.job} is stalled: {stall.reason}.") for stall in stalls),
        *machines.waiting,
    ]
    return Decision(
        actions=(*for_jobs, *machines.actions),
        wanted=machines.wanted,
        waiting=tuple(waiting) or (Waiting(code="ok", message=_all_is_well(view)),),
    )


def _all_is_well(view: View) -> str:
    open_jobs = sum(1 for job in view.jobs if job.open_shards)
    if not open_jobs:
        return "There is nothing to do."
    working = "1 machine works" if len(view.live) == 1 else f"{len(view.live)} machines work"
    return f"{working} on {'1 job' if open_jobs == 1 else f'{open_jobs} jobs'}."
