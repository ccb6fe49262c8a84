"""The guard's decision: from what one look saw to what is to be done; pure, so that every situation can be tested."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from gpupipe.functions.actions import Decision, StallJob, Waiting
from gpupipe.functions.scaling import Scaling
from gpupipe.functions.upkeep import job_actions
from gpupipe.functions.view import AnyView, View

V = TypeVar("V", bound="View[Any]")
V_contra = TypeVar("V_contra", bound="View[Any]", contravariant=True)


class Scale(Protocol[V_contra]):
    """Decides about machines; `stalled` are jobs that this very look found stalled."""

    def __call__(self, view: V_contra, *, stalled: frozenset[str]) -> Scaling: ...


def decide(view: V, scale: Scale[V]) -> Decision:
    """What to do about `view`, in the order in which to do it: jobs first, so that machines follow the work."""
    for_jobs = job_actions(view)
    stalls = [action for action in for_jobs if isinstance(action, StallJob)]
    machines = scale(view, stalled=frozenset(stall.job for stall in stalls))
    waiting = [
        *(Waiting(code="stalled", message=f"Job {stall.job} is stalled: {stall.reason}.") for stall in stalls),
        *machines.waiting,
    ]
    return Decision(
        actions=(*for_jobs, *machines.actions),
        wanted=machines.wanted,
        waiting=tuple(waiting) or (Waiting(code="ok", message=_all_is_well(view)),),
    )


def _all_is_well(view: AnyView) -> str:
    open_jobs = sum(1 for job in view.jobs if job.open_shards)
    if not open_jobs:
        return "There is nothing to do."
    working = "1 machine works" if view.at_work == 1 else f"{view.at_work} machines work"
    return f"{working} on {'1 job' if open_jobs == 1 else f'{open_jobs} jobs'}."
