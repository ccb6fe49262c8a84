"""What the ledger's rows say, as frozen values."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gpuworker.contract import Place


class JobState(StrEnum):
    """HELD and STALLED jobs start no machine; a machine that runs anyway works on them too."""

    HELD = "held"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    STALLED = "stalled"


class ShardState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Intake(StrEnum):
    """May shards be added? Submitted jobs are born sealed; a drop-in job is OPEN, then CLOSED, then its manifest is
    written and it is SEALED. Only sealed jobs finish, so that every finished job has its manifest in S3."""

    OPEN = "open"
    CLOSED = "closed"
    SEALED = "sealed"


class MachineState(StrEnum):
    LAUNCHED = "launched"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Spot notice received; still up for a moment."""
    STOPPED = "stopped"
    TERMINATED = "terminated"


JOB_OVER = frozenset({JobState.FINISHED, JobState.CANCELLED})
SHARD_OPEN = frozenset({ShardState.PENDING, ShardState.RUNNING})
MACHINE_UP = frozenset({MachineState.LAUNCHED, MachineState.RUNNING, MachineState.INTERRUPTED})


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One job. Times are Unix seconds."""

    job: str
    pipeline: str
    project: str
    task: str
    kind: str
    """"submitted" or "drop-in"."""
    state: JobState
    created_at: float
    items: int
    """Of an open drop-in job: what was added so far, at least; `Totals.items` is exact."""
    shards: int
    """Of an open drop-in job: the next free shard number."""
    generation: int = 0
    hold: bool = False
    intake: Intake = Intake.SEALED
    finished_at: float | None = None
    woken_at: float = 0.0
    """When a person last started it again after it had stalled."""
    reason: str = ""
    """Why it stalled, waits or was cancelled."""

    @property
    def is_over(self) -> bool:
        return self.state in JOB_OVER


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard of its newest generation; `done`, `failed` and `counts` include what was carried over."""

    job: str
    number: int
    generation: int = 0
    state: ShardState = ShardState.PENDING
    items: int
    """Carried items included."""
    done: int = 0
    failed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """Summed by task: `{"annotations": 31}`."""
    started: int = 0
    """Times a worker began this generation and is to blame for not ending it."""
    machine: str = ""
    created_at: float = 0.0
    """When this generation was registered: it waits since then."""
    sent_at: float = 0.0
    """When its message was last sent; 0 is not known to have been sent."""
    started_at: float | None = None
    heartbeat_at: float | None = None
    finished_at: float | None = None
    progress: int = 0
    """Items behind it, of a running shard."""
    parts: int = 0
    """Of a running shard: the parts (tiles) of large items that it is at now …"""
    parts_done: int = 0
    """… and how many of them it has behind it."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage, of the generation that was committed."""
    engine: str = ""
    """What made its results, and why that one, in words for people."""
    carried: Mapping[str, int] = field(default_factory=dict)
    """`Shard.carried` of this generation."""
    reason: str = ""
    """Why it is dead, or was last given back."""
    failures: int = 0
    """Times that its request failed with neither a worker nor the time to blame."""
    returned_at: float = 0.0
    """When the failure of its request was last noted; it is PENDING and unsent since then, or was sent again."""
    returned_by: Sequence[str] = ()
    """The last notifications of such failures: a second copy of one changes nothing."""

    @property
    def place(self) -> Place:
        return self.job, self.number, self.generation

    @property
    def is_open(self) -> bool:
        return self.state in SHARD_OPEN

    @property
    def remaining(self) -> int:
        """Items that no commit has accounted for."""
        return max(0, self.items - self.done - self.failed)

    @property
    def last_sign_at(self) -> float:
        """When anything was last done about it."""
        return max(self.created_at, self.sent_at, self.returned_at, self.heartbeat_at or 0.0)

    @property
    def is_unsent(self) -> bool:
        """Does it wait for somebody to send it?"""
        return self.state is ShardState.PENDING and not self.sent_at


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over a job's shard rows. `items` = done + failed + dead + cancelled + progressed + running + pending."""

    shards: int = 0
    items: int = 0
    done: int = 0
    """Items committed."""
    failed: int = 0
    dead: int = 0
    """Items lost with dead shards."""
    cancelled: int = 0
    progressed: int = 0
    """Items behind running shards, not committed yet."""
    running: int = 0
    """Items of running shards still to come."""
    parts: int = 0
    """Parts of the large items that running shards are at now …"""
    parts_done: int = 0
    """… and those behind them."""
    pending: int = 0
    shards_open: int = 0
    """Shards that are neither done, dead nor cancelled."""
    carried: int = 0
    """Items of done and failed that earlier generations of a retried shard finished."""
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    engines: tuple[str, ...] = ()
    """What made the results that are there, each once."""
    first_started_at: float | None = None
    last_finished_at: float | None = None

    @property
    def outstanding(self) -> int:
        """Items not yet accounted for."""
        return self.progressed + self.running + self.pending

    @property
    def is_complete(self) -> bool:
        return self.shards_open == 0

    @classmethod
    def of(cls, shards: Iterable[ShardRecord]) -> Totals:
        """The sums over `shards`, in one pass."""
        sums: dict[str, int] = dict.fromkeys(_SUMMED, 0)
        counts: dict[str, int] = {}
        seconds: dict[str, float] = {}
        engines: set[str] = set()
        started: list[float] = []
        finished: list[float] = []
        for shard in shards:
            _add(sums, {"shards": 1, "items": shard.items, "done": shard.done, "failed": shard.failed})
            _add(sums, _unaccounted(shard))
            _add(sums, {"carried": carried_items(shard.carried)})
            _add(counts, shard.counts)
            _add(seconds, shard.seconds)
            engines.add(shard.engine)
            started.extend([shard.started_at] if shard.started_at else [])
            finished.extend([shard.finished_at] if shard.finished_at else [])
        return cls(
            **sums,
            counts=counts,
            seconds=seconds,
            engines=tuple(sorted(engines - {""})),
            first_started_at=min(started, default=None),
            last_finished_at=max(finished, default=None),
        )


_SUMMED = (
    "shards",
    "items",
    "done",
    "failed",
    "dead",
    "cancelled",
    "progressed",
    "running",
    "parts",
    "parts_done",
    "pending",
    "shards_open",
    "carried",
)


def carried_items(carried: Mapping[str, int]) -> int:
    """How many items of a shard its earlier generations ended, by its `Shard.carried`."""
    return carried.get("done", 0) + carried.get("failed", 0)


def _unaccounted(shard: ShardRecord) -> dict[str, int]:
    """Where a shard's items without a commit stand."""
    rest = shard.remaining
    if shard.state is ShardState.PENDING:
        return {"pending": rest, "shards_open": 1}
    if shard.state is ShardState.RUNNING:
        behind = min(rest, shard.progress)
        parts = {"parts": shard.parts, "parts_done": shard.parts_done}
        return {"progressed": behind, "running": rest - behind, "shards_open": 1, **parts}
    return {"cancelled" if shard.state is ShardState.CANCELLED else "dead": rest}


def _add(sums: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """The newest version seen of an object that was dropped in, and the shard that took it."""

    key: str
    etag: str
    sequencer: str = ""
    """Left-padded by `padded`; "" where it came from a listing."""
    version_id: str = ""
    job: str
    shard: int


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """Dropped-in objects that were not taken, by project and reason."""

    project: str
    reason: str
    count: int
    last_key: str
    at: float
    world_files: int = 0
    """Of `count`: those that would have placed an image, had they been submitted with it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One past run of a machine, from start to stop."""

    started_at: float
    stopped_at: float
    shards: int
    """Shards committed in it."""
    reason: str = ""
    interrupted: bool = False
    """It ended by the spot market or by a person, which says nothing about the work."""
    hopeless: bool = False
    """Its worker gave up for a reason that only a person can remove, and which `reason` tells."""


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """One machine and what it cost; kept long after AWS has forgotten the instance."""

    machine: str
    """Instance id."""
    pipeline: str
    instance_type: str
    zone: str
    market: str
    launched_at: float
    price_usd_per_hour: float
    state: MachineState = MachineState.LAUNCHED
    run_started_at: float
    run_shards: int = 0
    """Shards committed in this run."""
    last_seen_at: float | None = None
    """When its worker last spoke, in this run."""
    gpu_memory_bytes: int = 0
    """The most of it that was held, as the worker last told; 0 where there is no GPU or it is not known."""
    gpu_memory_total_bytes: int = 0
    gpu_utilisation: float | None = None
    """Share of the time in which its GPU did anything, as the worker last told."""
    stopped_at: float | None = None
    reason: str = ""
    template: str = ""
    """Launch template and version it was made from."""
    alarmed: bool = False
    """Its idle alarm exists."""
    excused: bool = False
    """The guard ends this run for reasons that say nothing about the work."""
    hopeless: bool = False
    """As `Run.hopeless`, of the present run."""
    seconds_by_month: Mapping[str, float] = field(default_factory=dict)
    """Seconds billed of ended runs, by month ("2026-11", UTC)."""
    runs: Sequence[Run] = ()
    """Its last few ended runs, oldest first."""

    @property
    def is_up(self) -> bool:
        return self.state in MACHINE_UP

    @property
    def seconds_billed(self) -> float:
        """Of ended runs."""
        return sum(self.seconds_by_month.values())

    def seconds_in(self, month: str | None, now: float) -> float:
        """Seconds billed in `month` ("2026-11"), or ever; the present run up to `now` included."""
        present = seconds_by_month(self.run_started_at, now) if self.is_up else {}
        both = [self.seconds_by_month, present]
        return sum(sum(part.values()) if month is None else part.get(month, 0.0) for part in both)

    def cost_usd(self, now: float, month: str | None = None) -> float:
        """What its hours cost so far, or in one month; volumes are not in it."""
        return self.seconds_in(month, now) / 3600 * self.price_usd_per_hour


MINIMUM_BILLED_S = 60.0
"""EC2 bills by the second, but at least a minute a run."""


def month_of(at: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(at))


def seconds_by_month(start: float, end: float) -> dict[str, float]:
    """Seconds billed for a run, split where months (UTC) change."""
    end = max(end, start + MINIMUM_BILLED_S)
    months: dict[str, float] = {}
    while start < end:
        until = min(end, _next_month(start))
        months[month_of(start)] = until - start
        start = until
    return months


def _next_month(at: float) -> float:
    now = time.gmtime(at)
    year, month = (now.tm_year + 1, 1) if now.tm_mon == 12 else (now.tm_year, now.tm_mon + 1)
    return float(calendar.timegm((year, month, 1, 0, 0, 0)))


SEQUENCER_WIDTH = 64


def padded(sequencer: str) -> str:
    """An S3 sequencer in the form in which text order is its order: S3 left-pads the shorter of two with zeros."""
    return sequencer.upper().rjust(SEQUENCER_WIDTH, "0") if sequencer else ""
