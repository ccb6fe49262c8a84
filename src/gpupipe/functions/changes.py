"""What is written down of the machines that do the work, so that cost and reasons outlive them."""

from __future__ import annotations

from dataclasses import dataclass

from gpuworker.ledger import MachineRecord, MachineState


@dataclass(frozen=True, kw_only=True)
class NewRecord:
    """A machine nobody wrote down: the launching look was killed, or a person started it."""

    record: MachineRecord


@dataclass(frozen=True, kw_only=True)
class BeginRun:
    """A stopped machine runs again."""

    record: MachineRecord
    at: float


@dataclass(frozen=True, kw_only=True)
class EndRun:
    """A machine is off: bill its run."""

    record: MachineRecord
    state: MachineState
    at: float
    reason: str
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True)
class Forget:
    """A machine is gone for good; with it goes its alarm."""

    record: MachineRecord


@dataclass(frozen=True, kw_only=True)
class SetAlarm:
    """A running machine has no idle alarm (yet, or since it was started again)."""

    record: MachineRecord


Change = NewRecord | BeginRun | EndRun | Forget | SetAlarm
