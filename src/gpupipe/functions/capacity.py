"""What does the work of a pipeline, as the guard sees it; each kind of pipeline has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gpupipe.functions.actions import MachineAction, Refusal, Waiting
from gpupipe.functions.view import Instance, View
from gpuworker.ledger import MachineRecord


class Capacity(Protocol):
    """The machines of one pipeline during one look. What is to be done about them is decided in `decide`."""

    refusals: list[Refusal]
    """What AWS did not give in this look."""
    waiting: list[Waiting]
    """Why work waits, as far as acting showed it."""
    added: int
    """Machines that this look started."""

    def instances(self) -> Sequence[Instance]:
        """Those that exist."""

    def completed(self, view: View) -> View:
        """The view with what only this kind knows. What cannot be asked now is left out."""

    def act(self, action: MachineAction, view: View) -> None:
        """Do what was decided."""

    def arm(self, record: MachineRecord) -> None:
        """A machine runs: whatever else watches over it is set up."""

    def disarm(self, machine: str) -> None:
        """A machine is gone for good, and so is what watched over it."""

    def status(self, view: View) -> Mapping[str, Any]:
        """What the status document says beyond what every kind says."""
