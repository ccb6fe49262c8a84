"""The capacity of kind `endpoint`: instances of a SageMaker endpoint's variants, counted by SageMaker alone.

Instances have no names here, so the n-th of a variant is called `<variant>/<n>`; books, budget and cost are kept of
these as of any machine. Application Auto Scaling adds and removes instances; the guard wakes the endpoint at once,
which that takes minutes for, and holds it at none while paused or over budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpupipe.functions import endpoints, log
from gpupipe.functions.actions import MachineAction, Refusal, ScaleVariants, SuspendScaling, Waiting
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.sending import way_of
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Endpoint, Instance, View
from gpuworker.ledger import MachineRecord, MachineState


class Hosted:
    """Described, woken, and held at none."""

    def __init__(self, around: Surroundings) -> None:
        self.refusals: list[Refusal] = []
        self.waiting: list[Waiting] = []
        self.added = 0
        self._around = around
        self._endpoint: Endpoint | None = None

    def instances(self) -> Sequence[Instance]:
        self._endpoint = endpoints.endpoint(self._around)
        there = list(_there(self._endpoint, self._around.clock()))
        known = self._around.ledger.machines(self._around.settings.pipeline)
        return [*there, *_gone(known, {one.machine for one in there}, self._around.clock())]

    def completed(self, view: View) -> View:
        """With the endpoint, whether its own scaling is suspended, and since when it has had nothing to do."""
        nothing: Mapping[str, bool] = {}
        suspended = or_else(nothing, lambda: endpoints.suspended(self._around)) if self._endpoint else nothing
        before = self._around.ledger.guard_status(self._around.settings.pipeline).get("endpoint", {})
        backlog = view.queue_messages
        if not view.jobs:  # the look asked only where there are jobs; third parties may keep it busy as well
            backlog = or_else(None, lambda: way_of(view.settings).waiting(self._around))
        is_idle = backlog == 0 and not any(job.wants_machines for job in view.jobs)
        busy_at = float(before.get("busy_at", view.now)) if is_idle else view.now
        seen = replace(view, endpoint=self._endpoint, suspended=suspended, busy_at=busy_at)
        return replace(seen, queue_messages=backlog)

    def act(self, action: MachineAction, view: View) -> None:
        match action:
            case SuspendScaling(variants=variants, suspended=suspended):
                for variant in variants:
                    endpoints.suspend(self._around, variant, suspended)
            case ScaleVariants(instances=instances, reason=reason):
                self._scale(instances, reason)

    def arm(self, record: MachineRecord) -> None:
        """SageMaker counts instances that serve; their runs end by scaling, which says nothing about the work."""
        there = {"state": MachineState.RUNNING, "last_seen_at": self._around.clock(), "excused": True}
        self._around.ledger.change_machine(record.pipeline, record.machine, **there)

    def disarm(self, machine: str) -> None:
        """Nothing watches over single instances."""

    def status(self, view: View) -> Mapping[str, Any]:
        settings, endpoint = self._around.settings, view.endpoint
        if endpoint is None:
            return {"endpoint": {"name": settings.endpoint, "status": "", "mode": settings.mode, "variants": []}}
        variants = [
            {name: getattr(one, name) for name in ("name", "instance_type", "current", "desired", "weight")}
            for one in endpoint.variants
        ]
        told = {"name": endpoint.name, "status": endpoint.status, "failure": endpoint.failure, "mode": settings.mode}
        return {"endpoint": {**told, "variants": variants, "backlog": view.queue_messages, "busy_at": view.busy_at}}

    def _scale(self, instances: Mapping[str, int], reason: str) -> None:
        log.info("scale", instances=dict(instances), reason=reason)
        for variant, count in instances.items():
            refusal = endpoints.scale(self._around, variant, count)
            if refusal is not None:
                self.refusals.append(refusal)
                code, message = endpoints.waiting_for(refusal)
                self.waiting.append(Waiting(code=code, message=message))


def _there(endpoint: Endpoint | None, now: float) -> Iterator[Instance]:
    for variant in endpoint.variants if endpoint else ():
        for number, instance_type in enumerate(variant.instance_types, start=1):
            yield Instance(
                machine=f"{variant.name}/{number}",
                state="running",
                instance_type=instance_type,
                zone="",
                market="on-demand",
                launched_at=now,
            )


def _gone(known: Sequence[MachineRecord], there: set[str], now: float) -> Iterator[Instance]:
    """Instances that were, and may be again: a variant's second is the same whenever there are two."""
    for record in known:
        if record.machine not in there and record.state is not MachineState.TERMINATED:
            fields = {name: getattr(record, name) for name in ("machine", "instance_type", "zone", "market")}
            yield Instance(
                **fields, state="stopped", launched_at=record.launched_at, stopped_at=now, reason="scaled in"
            )
