"""Who does what since when: marks items in the journal while a step has them, and finds steps that never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.shard_run import InFlightItem


class Abandoned(Exception):  # noqa: N818 - tells a thread to end; nobody reports it
    """The step took too long, its items have been concluded without it, and another thread took this one's place."""


@dataclass(slots=True, eq=False)
class Step:
    """What one thread is doing: one stage's work on one item, or on a batch."""

    stage: str
    items: Sequence[InFlightItem]
    thread: threading.Thread
    started: float
    weight: int
    """The most ordinary items' work that the items have been, as far as that is known."""
    marks: Sequence[int]
    abandoned: bool = False


class Watch:
    """The steps that are going on. Cheap: beginning and ending one costs a few microseconds."""

    def __init__(self, journal: Journal, *, item_timeout_s: float) -> None:
        self._journal = journal
        self._item_timeout_s = item_timeout_s
        self._steps: set[Step] = set()
        self._lock = threading.Lock()

    def begin(self, stage: str, items: Sequence[InFlightItem]) -> Step:
        """Note what the calling thread is about to do; the items are suspects should the process die of it."""
        step = Step(
            stage=stage,
            items=items,
            thread=threading.current_thread(),
            started=time.monotonic(),
            weight=sum(in_flight.weight for in_flight in items),
            marks=[self._journal.mark(in_flight.shard_run.id, in_flight.index) for in_flight in items],
        )
        with self._lock:
            self._steps.add(step)
        return step

    def end(self, step: Step) -> None:
        """Note that the step has ended. Raises Abandoned where that was too late."""
        for mark in step.marks:
            self._journal.clear(mark)
        with self._lock:
            self._steps.discard(step)
        if step.abandoned:
            raise Abandoned

    def suspect(self, items: Sequence[InFlightItem]) -> None:
        """Mark these items for the process after this one, which has to end for what one of them may have done."""
        for in_flight in items:
            self._journal.mark(in_flight.shard_run.id, in_flight.index)

    def abandon_overdue(self) -> list[Step]:
        """Steps whose time is up, each told once; from now on nobody waits for them."""
        now = time.monotonic()
        with self._lock:
            overdue = [step for step in self._steps if self._deadline(step) < now and not step.abandoned]
            for step in overdue:
                step.abandoned = True
        return overdue

    def _deadline(self, step: Step) -> float:
        step.weight = max(step.weight, sum(in_flight.weight for in_flight in step.items))
        return step.started + self._item_timeout_s * step.weight
