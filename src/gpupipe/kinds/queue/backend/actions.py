"""What the guard can decide to do with EC2's machines; each is safe to repeat, and to have been killed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpupipe.functions.actions import BackendAction


@dataclass(frozen=True, kw_only=True)
class StopMachines(BackendAction):
    """Power off; `blameless` when it is not for want of progress."""

    machines: Sequence[str]
    reason: str
    blameless: bool


@dataclass(frozen=True, kw_only=True)
class TerminateMachines(BackendAction):
    """Give up stopped machines and their disks."""

    machines: Sequence[str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class StartMachine(BackendAction):
    """Start the one that is kept; where its zone has no room for it, launch another in its place."""

    machine: str


@dataclass(frozen=True, kw_only=True)
class LaunchMachines(BackendAction):
    """Launch so many new ones, wherever there is room."""

    count: int
