"""The back-end of kind `pushed`: there is nothing to start, stop or keep books of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpupipe.functions.actions import BackendAction
from gpupipe.functions.backend import Backend
from gpupipe.functions.changes import Change
from gpupipe.functions.scaling import Scaling, report_held_back
from gpupipe.functions.view import Facts, View
from gpuworker.ledger import MachineRecord, ShardState
from tests.toy_kinds.pushed.backend.settings import PushedSettings


@dataclass(frozen=True, kw_only=True)
class PushedView(View[PushedSettings]):
    """Jobs and shards alone."""

    @property
    def existing(self) -> int:
        return 0

    @property
    def at_work(self) -> int:
        return 0

    @property
    def room(self) -> int:
        return 0 if self.paused or self.is_over_budget else self.settings.at_once

    @property
    def run_limit_s(self) -> None:
        """No machine runs."""

    @property
    def running(self) -> int:
        """Shards that calls are at."""
        return sum(shard.state is ShardState.RUNNING for job in self.jobs for shard in job.open_shards)


class NoMachines(Backend[PushedSettings, PushedView]):
    """Lambda starts what the work needs."""

    def observe(self) -> None:
        """The ledger says it all."""

    def changes(self, records: Mapping[str, MachineRecord], *, looked_at: float) -> Sequence[Change]:
        return ()

    def view(self, facts: Facts[PushedSettings]) -> PushedView:
        return PushedView(**facts.shared())

    def decide(self, view: PushedView, *, stalled: frozenset[str]) -> Scaling:
        return scaling(view, stalled=stalled)

    def act(self, action: BackendAction, view: PushedView) -> None:
        """`decide` never asks for anything."""

    def arm(self, record: MachineRecord) -> None:
        """There are no machines."""

    def disarm(self, machine: str) -> None:
        """There are no machines."""

    def describe(self, view: PushedView) -> Mapping[str, Any]:
        return {"calls": f"{view.running} of at most {view.settings.at_once} at work" if view.running else ""}


def scaling(view: PushedView, *, stalled: frozenset[str]) -> Scaling:
    """Why work waits; pure."""
    result = Scaling()
    if view.paused:
        result.wait("paused", "Nothing is called; `gpupipe start` goes on.")
    report_held_back(view, stalled, result)
    if view.running and not result.waiting:
        result.wait("ok", f"The function is at {view.running} shards.")
    return result
