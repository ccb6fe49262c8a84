"""What the guard can decide to do; each is safe to repeat, and to have been killed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuworker.ledger import JobRecord, ShardRecord


@dataclass(frozen=True, kw_only=True)
class FinishJob:
    """Every shard is accounted for."""

    job: str


@dataclass(frozen=True, kw_only=True)
class CloseDropin:
    """A drop-in job has been quiet: take no more, write its manifest, finish it."""

    record: JobRecord


@dataclass(frozen=True, kw_only=True)
class NoteRunning:
    """Its shards are being worked on, whatever its row says."""

    job: str


@dataclass(frozen=True, kw_only=True)
class StallJob:
    """No more machines for this job until a person looks at it."""

    job: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ResendShard:
    """Its message seems to be lost."""

    shard: ShardRecord


@dataclass(frozen=True, kw_only=True)
class MarkDead:
    """Workers began it as often as SQS hands it out, and none came back."""

    shard: ShardRecord
    reason: str


@dataclass(frozen=True, kw_only=True)
class SendShards:
    """They were registered or given back, and nobody has sent them yet."""

    shards: Sequence[ShardRecord]


class BackendAction:
    """What a kind's own back-end does; each kind has its own ones."""


JobAction = FinishJob | CloseDropin | NoteRunning | StallJob | ResendShard | MarkDead | SendShards
Action = JobAction | BackendAction


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Why nothing happens, in plain words; `code` is one of threshold, capacity, quota, budget, paused, hold, stalled,
    launching, error, ok."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """AWS did not give a machine of this type in this zone, and why."""

    instance_type: str
    zone: str
    code: str
    message: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of one look."""

    actions: Sequence[Action]
    wanted: int
    """Machines that the work asks for now."""
    waiting: Sequence[Waiting]
