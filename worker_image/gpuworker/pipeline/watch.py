"""Who does what since when: marks items in the journal while a step has them, and finds steps that never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gpuworker.pipeline.feed import Passage
from gpuworker.pipeline.journal import Journal


class Abandoned(Exception):  # noqa: N818 - tells a thread to end; nobody reports it
    """The step took too long, its items have been settled without it, and another thread took this one's place."""


@dataclass(slots=True, eq=False)
class Step:
    """What one thread is doing: one stage's work on one item, or on a batch."""

    stage: str
    passages: Sequence[Passage]
    thread: threading.Thread
    started: float
    units: int
    """The most that the items have been worth, as far as that is known."""
    marks: Sequence[int]
    abandoned: bool = False


class Watch:
    """The steps that are going on. Cheap: beginning and ending one costs a few microseconds."""

    def __init__(self, journal: Journal, *, item_timeout_s: float) -> None:
        self._journal = journal
        self._item_timeout_s = item_timeout_s
        self._steps: set[Step] = set()
        self._lock = threading.Lock()

    def begin(self, stage: str, passages: Sequence[Passage]) -> Step:
        """Note what the calling thread is about to do; the items are suspects should the process die of it."""
        step = Step(
            stage=stage,
            passages=passages,
            thread=threading.current_thread(),
            started=time.monotonic(),
            units=sum(passage.units for passage in passages),
            marks=[self._journal.mark(passage.feed.id, passage.index) for passage in passages],
        )
        with self._lock:
            self._steps.add(step)
        return step

    def end(self, step: Step) -> None:
        """It came back. Raises Abandoned where it was too late."""
        for mark in step.marks:
            self._journal.clear(mark)
        with self._lock:
            self._steps.discard(step)
        if step.abandoned:
            raise Abandoned

    def suspect(self, passages: Sequence[Passage]) -> None:
        """Mark these items for the process after this one, which has to end for what one of them may have done."""
        for passage in passages:
            self._journal.mark(passage.feed.id, passage.index)

    def abandon_overdue(self) -> list[Step]:
        """Steps whose time is up, each told once; from now on nobody waits for them."""
        now = time.monotonic()
        with self._lock:
            overdue = [step for step in self._steps if self._deadline(step) < now and not step.abandoned]
            for step in overdue:
                step.abandoned = True
        return overdue

    def _deadline(self, step: Step) -> float:
        step.units = max(step.units, sum(passage.units for passage in step.passages))
        return step.started + self._item_timeout_s * step.units
