"""The back-end of kind `endpoint`: instances of a SageMaker endpoint's variants, counted by SageMaker alone.

Books, budget and cost are kept of them as of any machine. Application Auto Scaling adds and removes instances; the
guard wakes the endpoint at once, which that takes minutes for, and holds it at none while paused or over budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import BackendAction, Waiting
from gpupipe.functions.backend import Backend
from gpupipe.functions.changes import Change
from gpupipe.functions.context import Context
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.scaling import Scaling
from gpupipe.functions.view import Facts
from gpupipe.kinds.endpoint.backend import endpoints
from gpupipe.kinds.endpoint.backend.actions import ScaleVariants, SuspendScaling
from gpupipe.kinds.endpoint.backend.bookkeeping import changes
from gpupipe.kinds.endpoint.backend.hosted_scale import hosted_scaling
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.kinds.endpoint.backend.view import Endpoint, EndpointView
from gpuworker.ledger import MachineRecord, MachineState


class Hosted(Backend[EndpointSettings, EndpointView]):
    """Described, woken, and held at none."""

    def __init__(self, ctx: Context[EndpointSettings]) -> None:
        super().__init__(ctx)
        self._endpoint: Endpoint | None = None

    def observe(self) -> None:
        self._endpoint = endpoints.endpoint(self._ctx)

    def changes(self, records: Mapping[str, MachineRecord], *, looked_at: float) -> Sequence[Change]:
        return list(changes(self._ctx.settings, self._endpoint, records, now=self._ctx.clock()))

    def view(self, facts: Facts[EndpointSettings]) -> EndpointView:
        """With the endpoint, whether its own scaling is suspended, and since when it has had nothing to do."""
        nothing: Mapping[str, bool] = {}
        suspended = or_else(nothing, lambda: endpoints.suspended(self._ctx)) if self._endpoint else nothing
        before = self._ctx.ledger.guard_status(self._ctx.settings.pipeline).get("endpoint", {})
        backlog = facts.queue_messages
        if not facts.jobs:  # the look asked only where there are jobs; third parties may keep it busy as well
            backlog = or_else(None, self._ctx.transport.count)
        is_idle = backlog == 0 and not any(job.wants_machines for job in facts.jobs)
        busy_at = float(before.get("busy_at", facts.now)) if is_idle else facts.now
        known = {**facts.shared(), "queue_messages": backlog}
        return EndpointView(**known, endpoint=self._endpoint, suspended=suspended, busy_at=busy_at)

    def decide(self, view: EndpointView, *, stalled: frozenset[str]) -> Scaling:
        return hosted_scaling(view, stalled=stalled)

    def act(self, action: BackendAction, view: EndpointView) -> None:
        match action:
            case SuspendScaling(variants=variants, suspended=suspended):
                for variant in variants:
                    endpoints.suspend(self._ctx, variant, suspended)
            case ScaleVariants(instances=instances, reason=reason):
                self._scale(instances, reason)

    def arm(self, record: MachineRecord) -> None:
        """SageMaker counts instances that serve; their runs end by scaling, which says nothing about the work."""
        there = {"state": MachineState.RUNNING, "last_seen_at": self._ctx.clock(), "excused": True}
        self._ctx.ledger.change_machine(record.pipeline, record.machine, **there)

    def disarm(self, machine: str) -> None:
        """Nothing watches over single instances."""

    def describe(self, view: EndpointView) -> Mapping[str, Any]:
        settings, endpoint = self._ctx.settings, view.endpoint
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
            refusal = endpoints.scale(self._ctx, variant, count)
            if refusal is not None:
                self.refusals.append(refusal)
                code, message = endpoints.waiting_for(refusal)
                self.waiting.append(Waiting(code=code, message=message))
