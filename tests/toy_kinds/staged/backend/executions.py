"""The back-end of kind `staged`: executions, which end by themselves; there is nothing to start or keep books of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpupipe.functions.actions import BackendAction
from gpupipe.functions.backend import Backend
from gpupipe.functions.changes import Change
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.scaling import Scaling, report_held_back
from gpupipe.functions.view import Facts, View
from gpuworker.ledger import MachineRecord, ShardRecord, ShardState
from tests.toy_kinds.staged.backend.settings import StagedSettings
from tests.toy_kinds.staged.backend.steps import state_of

ASKED_MAX = 50
"""Executions whose state one look reads."""
FIRST_STAGE = "prepare"


@dataclass(frozen=True, kw_only=True)
class StagedView(View[StagedSettings]):
    """With the stages that executions are at."""

    stages: Mapping[str, int] = field(default_factory=dict)
    """How many executions are at a stage, of those that were asked for."""

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


class Executions(Backend[StagedSettings, StagedView]):
    """Looked at; the transport begins them."""

    def observe(self) -> None:
        """The ledger says which there are."""

    def changes(self, records: Mapping[str, MachineRecord], *, looked_at: float) -> Sequence[Change]:
        return ()

    def view(self, facts: Facts[StagedSettings]) -> StagedView:
        running = [s for job in facts.jobs for s in job.open_shards if s.state is ShardState.RUNNING]
        nothing: Mapping[str, int] = {}
        stages = or_else(nothing, lambda: Counter(map(self._stage_of, running[:ASKED_MAX])))
        return StagedView(**facts.shared(), stages=stages)

    def decide(self, view: StagedView, *, stalled: frozenset[str]) -> Scaling:
        return scaling(view, stalled=stalled)

    def act(self, action: BackendAction, view: StagedView) -> None:
        """`decide` never asks for anything."""

    def arm(self, record: MachineRecord) -> None:
        """There are no machines."""

    def disarm(self, machine: str) -> None:
        """There are no machines."""

    def describe(self, view: StagedView) -> Mapping[str, Any]:
        return {"executions": dict(view.stages)}

    def _stage_of(self, shard: ShardRecord) -> str:
        state = state_of(self._ctx, shard.place)
        return state.next_stage if state is not None and state.execution == shard.machine else FIRST_STAGE


def scaling(view: StagedView, *, stalled: frozenset[str]) -> Scaling:
    """Why work waits; pure."""
    result = Scaling()
    if view.paused:
        result.wait("paused", "No execution begins; `gpupipe start` goes on.")
    report_held_back(view, stalled, result)
    if view.stages and not result.waiting:
        result.wait("ok", f"{sum(view.stages.values())} executions go on.")
    return result
