"""Rates, times left and costs of a job, computed from what was seen of it; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gpuworker.ledger import MachineRecord, Totals

WINDOW_S = 120.0
"""A rate is that of the last two minutes: machines come and go, and the beginning says little about now."""
BELIEVABLE_S = 15.0
"""A shorter span of looks says less than the whole run so far."""


class Pulse:
    """Looks at one job's progress, over a sliding window."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, at: float, totals: Totals) -> float | None:
        """Note where the job is now; its items a second, or None where nothing is known yet."""
        behind = items_behind(totals)
        if self._looks and behind < self._looks[-1][1]:
            self._looks.clear()  # a shard was lost and begins anew, or the job was retried
        self._looks.append((at, behind))
        while len(self._looks) > 2 and at - self._looks[1][0] >= WINDOW_S:
            self._looks.popleft()
        since, before = self._looks[0]
        if at - since >= BELIEVABLE_S and behind > before:
            return (behind - before) / (at - since)
        return average_rate(totals, at)


def items_behind(totals: Totals) -> int:
    """Items that are processed, committed or not yet."""
    return totals.done + totals.failed + totals.progressed


def average_rate(totals: Totals, now: float) -> float | None:
    """Items a second since the first shard began; None before, and where none is done."""
    items = items_behind(totals) - totals.carried  # those of an earlier generation took no time of this one
    if totals.first_started_at is None or not items:
        return None
    end = totals.last_finished_at if totals.is_complete and totals.last_finished_at else now
    return items / max(end - totals.first_started_at, 0.001)


def seconds_left(totals: Totals, rate: float | None) -> float | None:
    """Until the job is finished, if it goes on like this; None where nothing moves."""
    ahead = totals.running + totals.pending
    if not totals.outstanding:
        return 0.0
    return ahead / rate if rate else None


def cost_usd(machines: Iterable[MachineRecord], start: float, end: float) -> float:
    """What the machines' hours between `start` and `end` cost, whichever job they worked on; volumes not included."""
    return sum(
        machine.price_usd_per_hour / 3600 * max(0.0, min(until, end) - max(since, start))
        for machine in machines
        for since, until in _runs(machine, end)
    )


def _runs(machine: MachineRecord, now: float) -> Iterable[tuple[float, float]]:
    yield from ((run.started_at, run.stopped_at) for run in machine.runs)
    if machine.is_up:
        yield machine.run_started_at, now
