"""What the guard sees in one look: jobs, queue, machines and settings, as plain values to decide upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gpupipe.functions.settings import FunctionSettings
from gpuworker.ledger import JobRecord, JobState, MachineRecord, ShardRecord, ShardState, Totals
from gpuworker.ledger.records import month_of

DESCRIBE_LAG_S = 180.0
"""A machine just launched may be missing from DescribeInstances for a moment; longer than this, and it is gone."""
LIVE = frozenset({"pending", "running"})
CAN_BE_SCALED = frozenset({"InService", "UpdateRollbackFailed"})
"""Of the second, old and new instances serve side by side: they cost as much, and have to be stopped as well."""
TAKES_REQUESTS = CAN_BE_SCALED | {"Updating", "SystemUpdating", "RollingBack"}
GONE = frozenset({"shutting-down", "terminated"})


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A machine of this pipeline, as AWS describes it."""

    machine: str
    state: str
    """pending, running, stopping, stopped, shutting-down or terminated."""
    instance_type: str
    zone: str
    market: str
    launched_at: float
    """Of its present or last run."""
    template: str = ""
    """Fingerprint of the launch template that it was made from."""
    stopped_at: float | None = None
    reason: str = ""
    """EC2's words for its last change of state."""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def is_gone(self) -> bool:
        return self.state in GONE


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One production variant of an endpoint."""

    name: str
    instance_type: str
    """The one that it prefers."""
    instance_types: Sequence[str] = ()
    """Of each instance that is there."""
    desired: int = 0
    weight: float = 1.0
    message: str = ""
    """SageMaker's words for what it is doing with it."""

    @property
    def current(self) -> int:
        """Instances that are there."""
        return len(self.instance_types)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A SageMaker endpoint, as SageMaker describes it."""

    name: str
    status: str
    """InService, Creating, Updating, SystemUpdating, RollingBack, UpdateRollbackFailed, OutOfService, Deleting or
    Failed."""
    failure: str = ""
    config: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    variants: Sequence[Variant] = ()

    @property
    def can_be_scaled(self) -> bool:
        return self.status in CAN_BE_SCALED

    @property
    def takes_requests(self) -> bool:
        return self.status in TAKES_REQUESTS

    @property
    def current(self) -> int:
        return sum(variant.current for variant in self.variants)

    @property
    def desired(self) -> int:
        return sum(variant.desired for variant in self.variants)


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
class View:
    """Everything that a decision is made from."""

    now: float
    settings: FunctionSettings
    jobs: Sequence[JobView] = ()
    queue_messages: int | None = 0
    """Shards that wait to be worked on or are worked on, by the queue's own count; None where it could not be asked,
    and no shard counts as lost."""
    instances: Sequence[Instance] = ()
    records: Mapping[str, MachineRecord] = field(default_factory=dict)
    """Of machines by id, those long gone included."""
    template: str = ""
    """Fingerprint of the launch template as it is now; "" where it was not looked up."""
    endpoint: Endpoint | None = None
    """Of kind `endpoint`; None where there is none."""
    suspended: Mapping[str, bool] = field(default_factory=dict)
    """Of variants that Application Auto Scaling scales: may it add no instances now?"""
    busy_at: float = 0.0
    """When an endpoint last had something to do, as far as looks saw."""
    paused: bool = False
    start_asked_at: float = 0.0
    """When a person last asked for a machine."""

    @property
    def live(self) -> list[Instance]:
        """Machines that run or are about to."""
        return [instance for instance in self.instances if instance.is_live]

    @property
    def launching(self) -> list[MachineRecord]:
        """Machines launched so recently that EC2 does not describe them yet."""
        described = {instance.machine for instance in self.instances}
        return [
            record
            for record in self.records.values()
            if record.is_up and record.machine not in described and self.now - record.run_started_at < DESCRIBE_LAG_S
        ]

    @property
    def existing(self) -> int:
        return len(self.live) + len(self.launching)

    @cached_property
    def month_usd(self) -> float:
        """What this month's machine hours have cost."""
        month = month_of(self.now)
        return sum(record.cost_usd(self.now, month) for record in self.records.values())

    @property
    def is_over_budget(self) -> bool:
        return 0 < self.settings.monthly_usd <= self.month_usd
