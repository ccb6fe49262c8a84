"""What every kind's decision about its back-end has: an outcome, and the questions that it begins with; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gpupipe.functions.actions import BackendAction, Waiting
from gpupipe.functions.view import AnyView, JobView
from gpuworker.contract import TARGET_SHARD_S
from gpuworker.ledger import JobState

ASKED_S = 900.0
"""How long a person's `gpupipe start` is tried for."""


@dataclass
class Scaling:
    """What is decided about what does the work."""

    wanted: int = 0
    actions: list[BackendAction] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def wait(self, code: str, message: str) -> None:
        self.waiting.append(Waiting(code=code, message=message))


def seconds_left(view: AnyView, job: JobView) -> float:
    """Work left in a job, by what its items took so far or else by how its shards were sized."""
    totals = job.totals
    finished = totals.done + totals.failed
    if finished and totals.seconds.get("wall"):
        each_s = totals.seconds["wall"] / finished
    else:
        items = view.settings.items_of_dropins(job.record.project) if job.is_dropin else view.settings.shard_items
        each_s = TARGET_SHARD_S / max(1, items)
    return (totals.running + totals.pending) * each_s


def is_asked_for(view: AnyView) -> bool:
    """Did a person ask for a machine, and none has begun to run since?"""
    asked = view.start_asked_at
    begun = [record.run_started_at for record in view.records.values()]
    return view.now - asked < ASKED_S and max(begun, default=0.0) < asked


def report_held_back(view: AnyView, stalled: frozenset[str], result: Scaling) -> None:
    for job in view.jobs:
        record = job.record
        if not job.open_shards:
            continue
        if record.state is JobState.HELD:
            result.wait("hold", f"Job {record.job} is held; `gpupipe start` begins it.")
        elif record.state is JobState.STALLED and record.job not in stalled:
            result.wait("stalled", f"Job {record.job} is stalled: {record.reason}. `gpupipe start` tries again.")


def duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
