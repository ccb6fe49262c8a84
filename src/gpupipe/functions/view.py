"""What the guard sees of a pipeline in one look, as plain values to decide upon.

Jobs, what was sent and what machines have cost are the same for every kind; each adds what it knows of its back-end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Generic, TypeVar

from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.transport import Delivery
from gpupipe.functions.whole import Whole
from gpuworker.ledger import JobRecord, JobState, MachineRecord, ShardRecord, ShardState, Totals
from gpuworker.ledger.records import month_of

S_co = TypeVar("S_co", bound=FunctionSettings, covariant=True)


@dataclass(frozen=True, kw_only=True)
class JobView:
    """An unfinished job and all its shard rows."""

    record: JobRecord
    shards: Sequence[ShardRecord]

    @cached_property
    def totals(self) -> Totals:
        return Totals.of(self.shards)

    @cached_property
    def open_shards(self) -> list[ShardRecord]:
        return [shard for shard in self.shards if shard.is_open]

    @property
    def is_dropin(self) -> bool:
        return self.record.kind == "drop-in"

    @property
    def wants_machines(self) -> bool:
        """Has it work, and nothing against starting a machine for it?"""
        return bool(self.open_shards) and self.record.state not in (JobState.HELD, JobState.STALLED)

    @property
    def oldest_pending_at(self) -> float | None:
        """Since when its longest waiting shard waits."""
        waiting = [shard.created_at for shard in self.open_shards if shard.state is ShardState.PENDING]
        return min(waiting, default=None)

    @property
    def last_event_at(self) -> float:
        """When it last grew or moved."""
        added = [shard.created_at for shard in self.shards]
        return max([self.record.created_at, self.totals.last_finished_at or 0.0, *added])


@dataclass(frozen=True, kw_only=True)
class Facts(Generic[S_co]):
    """What is known whatever does the work."""

    now: float
    settings: S_co
    delivery: Delivery
    jobs: Sequence[JobView] = ()
    queue_messages: int | None = 0
    """Shards that wait to be worked on or are worked on, by the transport's own count; None where it could not be
    asked, and no shard counts as lost."""
    records: Mapping[str, MachineRecord] = field(default_factory=dict)
    """Of machines by id, those long gone included."""
    paused: bool = False
    start_asked_at: float = 0.0
    """When a person last asked for a machine."""

    def shared(self) -> dict[str, Any]:
        """The fields of it, for the view of a kind."""
        return {one.name: getattr(self, one.name) for one in fields(Facts)}

    @cached_property
    def month_usd(self) -> float:
        """What this month's machine hours have cost."""
        month = month_of(self.now)
        return sum(record.cost_usd(self.now, month) for record in self.records.values())

    @property
    def is_over_budget(self) -> bool:
        return 0 < self.settings.monthly_usd <= self.month_usd


@dataclass(frozen=True, kw_only=True)
class View(Facts[S_co], Whole, ABC):
    """Everything that a decision is made from; each kind's own has what it sees of its back-end beside it."""

    @property
    @abstractmethod
    def existing(self) -> int:
        """How many machines there are for the work, those that are about to run included."""

    @property
    @abstractmethod
    def at_work(self) -> int:
        """How many of them AWS describes as running or about to."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many shards may be sent now that are registered and unsent; only where sending begins the work."""

    @property
    @abstractmethod
    def run_limit_s(self) -> float | None:
        """The hard limit of one run of a machine; None where there is none."""


AnyView = View[FunctionSettings]
"""For what is the same for every kind."""
