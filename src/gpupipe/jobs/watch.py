"""How a job is: one look at it, and looks until it is over. A look costs a few queries, also for a million images."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.choose import choose_job
from gpupipe.aws import together
from gpuworker.ledger import JobRecord, JobState, MachineRecord, Totals

RATE_WINDOW_S = 120.0
"""Throughput is that of the last two minutes, or since the first look."""

OVER = frozenset({JobState.FINISHED, JobState.CANCELLED, JobState.STALLED})


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One look at a job."""

    at: float
    """Unix time of the look."""
    record: JobRecord
    totals: Totals
    machines: Sequence[MachineRecord] = ()
    """Those that are up, of the pipeline."""
    waiting: Sequence[str] = ()
    """Why it is not faster or not running, in plain words."""
    rate_per_s: float = 0.0
    """Items a second, recently; over the whole job once it is over. 0 is not known yet."""
    cost_usd: float = 0.0
    """What the machines cost since the job was submitted; shared with other jobs that ran at the time."""

    @property
    def is_over(self) -> bool:
        """Nothing more will happen by itself."""
        return self.record.state in OVER

    @property
    def accounted(self) -> int:
        """Items behind us: committed, or behind a running shard."""
        return self.totals.items - self.totals.running - self.totals.pending

    @property
    def lost(self) -> int:
        """Items that failed, alone or with their shard."""
        return self.totals.failed + self.totals.dead

    @property
    def seconds_left(self) -> float | None:
        """By the recent rate; None where there is none."""
        rest = self.totals.running + self.totals.pending
        return rest / self.rate_per_s if self.rate_per_s > 0 and not self.is_over else None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "job": self.record.job,
            "project": self.record.project,
            "pipeline": self.record.pipeline,
            "state": str(self.record.state),
            "reason": self.record.reason,
            "generation": self.record.generation,
            "items": self.totals.items,
            "done": self.totals.done,
            "failed": self.totals.failed,
            "dead": self.totals.dead,
            "cancelled": self.totals.cancelled,
            "outstanding": self.totals.outstanding,
            "in_progress": self.totals.progressed,
            "counts": dict(self.totals.counts),
            "shards": self.totals.shards,
            "shards_open": self.totals.shards_open,
            "items_per_s": round(self.rate_per_s, 3),
            "seconds_left": self.seconds_left and round(self.seconds_left, 1),
            "cost_usd": round(self.cost_usd, 4),
            "machines": [_machine(machine) for machine in self.machines],
            "waiting": list(self.waiting),
            "is_over": self.is_over,
        }


def _machine(machine: MachineRecord) -> dict[str, Any]:
    return {
        "machine": machine.machine,
        "type": machine.instance_type,
        "zone": machine.zone,
        "market": machine.market,
        "state": str(machine.state),
        "since": machine.run_started_at,
    }


def observe(ctx: JobsContext, job: str) -> JobView:
    """Look once. Raises JobError for an unknown job."""
    return _look(ctx, choose_job(ctx, job=job))


def listing(ctx: JobsContext, *, project: str | None = None, limit: int) -> list[JobView]:
    """A look at each of the newest jobs, newest first."""
    with explained("read the ledger"):
        records = list(ctx.ledger.jobs(project=project, pipeline=ctx.pipeline, limit=limit))
    return together(*(partial(_look, ctx, record) for record in records))


def _look(ctx: JobsContext, record: JobRecord) -> JobView:
    with explained("read the ledger"):
        totals = ctx.ledger.totals(record.job)
        machines = ctx.ledger.machines(record.pipeline)
        guard = {} if record.state in OVER else ctx.ledger.guard_status(record.pipeline)
    now = time.time()
    return JobView(
        at=now,
        record=record,
        totals=totals,
        machines=[machine for machine in machines if machine.is_up],
        waiting=_waiting(record, totals, guard),
        rate_per_s=_overall_rate(totals) if record.state in OVER else 0.0,
        cost_usd=sum(_cost_since(machine, record.created_at, _end(record, totals, now)) for machine in machines),
    )


def _end(record: JobRecord, totals: Totals, now: float) -> float:
    return (record.finished_at or totals.last_finished_at or now) if record.state in OVER else now


def _cost_since(machine: MachineRecord, start: float, end: float) -> float:
    """What the machine cost between two times: of its ended runs those it remembers, and the present one."""
    spans = [(run.started_at, run.stopped_at) for run in machine.runs]
    if machine.is_up:
        spans.append((machine.run_started_at, end))
    seconds = sum(max(0.0, min(stop, end) - max(begin, start)) for begin, stop in spans)
    return seconds / 3600 * machine.price_usd_per_hour


def _overall_rate(totals: Totals) -> float:
    if totals.first_started_at is None or totals.last_finished_at is None:
        return 0.0
    wall_s = totals.last_finished_at - totals.first_started_at
    return (totals.done + totals.failed) / wall_s if wall_s > 0 else 0.0


def _waiting(record: JobRecord, totals: Totals, guard: Mapping[str, Any]) -> list[str]:
    if record.state in OVER or not totals.shards:
        return [record.reason] if record.reason else []
    told = [str(why["message"]) for why in guard.get("waiting", ()) if why.get("code") != "ok"]
    # Once shards run, what the guard said while it launched the machine is no news any more.
    told = [] if totals.progressed or (totals.running and not totals.pending) else told
    return list(dict.fromkeys([*([record.reason] if record.reason else []), *told]))


@dataclass
class Pace:
    """Throughput over a sliding window of looks."""

    window_s: float = RATE_WINDOW_S
    _looks: deque[tuple[float, int]] = field(default_factory=deque)

    def rate(self, at: float, accounted: int) -> float:
        """Items a second, with this look added."""
        self._looks.append((at, accounted))
        while self._looks[0][0] < at - self.window_s:
            self._looks.popleft()
        first_at, first = self._looks[0]
        # Before the first change there is nothing to divide by: a machine that starts is not slow.
        begun = next((index for index, look in enumerate(self._looks) if look[1] > first), None)
        if begun is None or at <= first_at:
            return 0.0
        start_at, start = self._looks[max(0, begun - 1)]
        return (accounted - start) / (at - start_at) if at > start_at else 0.0


def follow(
    ctx: JobsContext,
    job: str,
    *,
    interval_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobView]:
    """Look every `interval_s` until the job is over; the last view is that of its end.

    A long job is looked at less often, so that a day of watching costs cents: the pause grows with the time that a
    look takes and with the number of shards.
    """
    pace = Pace()
    while True:
        begin = time.monotonic()
        view = observe(ctx, job)
        if not view.is_over:
            view = JobView(**{**vars(view), "rate_per_s": pace.rate(view.at, view.accounted)})
        yield view
        if view.is_over:
            return
        took_s = time.monotonic() - begin
        sleep(max(interval_s, 4 * took_s, min(15.0, view.totals.shards / 200)))
