"""Tells the task how much work is still to come, so that it may spend time now on what only many items repay."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from gpuworker.ledger import Ledger
from gpuworker.tasks.base import Task

AGAIN_AFTER_S = 300.0
"""The sums of a job of a million images are a few queries: not for every sign of life."""


class Backlog:
    """Asks the ledger when a job is new here, and again after minutes; used by one thread."""

    def __init__(
        self, task: Task, ledger: Ledger, pipeline: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._task, self._is_told = task, type(task).expect is not Task.expect
        """Nobody is asked for what the task would not hear."""
        self._ledger, self._pipeline, self._clock = ledger, pipeline, clock
        self._known: frozenset[str] = frozenset()
        self._asked_at = float("-inf")

    def look(self, jobs: Collection[str]) -> None:
        """These jobs have shards here now. Raises botocore's errors."""
        if not self._is_told or not jobs:
            return
        if self._known.issuperset(jobs) and self._clock() - self._asked_at < AGAIN_AFTER_S:
            return
        self._known, self._asked_at = frozenset(jobs), self._clock()
        machines = sum(machine.is_up for machine in self._ledger.machines(self._pipeline))
        outstanding = sum(self._ledger.totals(job).outstanding for job in self._known)
        self._task.expect(outstanding // max(1, machines))
