"""What does the work of a pipeline, as the guard sees it; each kind of pipeline has its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from gpupipe.functions.actions import BackendAction, Refusal, Waiting
from gpupipe.functions.changes import Change
from gpupipe.functions.context import Context
from gpupipe.functions.scaling import Scaling
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.view import Facts, View
from gpupipe.functions.whole import Whole
from gpuworker.ledger import MachineRecord

S = TypeVar("S", bound=FunctionSettings)
V = TypeVar("V", bound="View[Any]")


class Backend(Whole, ABC, Generic[S, V]):
    """What works on the shards of one pipeline, during one look: it is observed first, then asked and told the rest."""

    def __init__(self, ctx: Context[S]) -> None:
        self._ctx = ctx
        self.refusals: list[Refusal] = []
        """What AWS did not give in this look."""
        self.waiting: list[Waiting] = []
        """Why work waits, as far as acting showed it."""
        self.added = 0
        """Machines that this look started."""

    @abstractmethod
    def observe(self) -> None:
        """Ask AWS what there is."""

    @abstractmethod
    def changes(self, records: Mapping[str, MachineRecord], *, looked_at: float) -> Sequence[Change]:
        """What is to be written down of machines since the guard `looked_at` them, beside what their records say."""

    @abstractmethod
    def view(self, facts: Facts[S]) -> V:
        """The facts with what only this kind knows. What cannot be asked now is left out."""

    @abstractmethod
    def decide(self, view: V, *, stalled: frozenset[str]) -> Scaling:
        """What to do about machines, and why work waits; pure. `stalled` are jobs that this very look found stalled."""

    @abstractmethod
    def act(self, action: BackendAction, view: V) -> None:
        """Do what was decided."""

    @abstractmethod
    def arm(self, record: MachineRecord) -> None:
        """A machine runs: whatever else watches over it is set up."""

    @abstractmethod
    def disarm(self, machine: str) -> None:
        """A machine is gone for good, and so is what watched over it."""

    @abstractmethod
    def describe(self, view: V) -> Mapping[str, Any]:
        """What the status document says beyond what every kind says."""


AnyBackend = Backend[Any, Any]
"""For what is the same for every kind."""
