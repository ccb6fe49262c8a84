"""The back-end of kind `queue`: EC2 machines, one that keeps its disk or a fleet of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import BackendAction, Refusal, Waiting
from gpupipe.functions.backend import Backend
from gpupipe.functions.books import write_down
from gpupipe.functions.changes import Change, SetAlarm
from gpupipe.functions.context import Context
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.scaling import Scaling
from gpupipe.functions.view import Facts
from gpupipe.kinds.queue.backend import machines
from gpupipe.kinds.queue.backend.actions import LaunchMachines, StartMachine, StopMachines, TerminateMachines
from gpupipe.kinds.queue.backend.alarms import drop_alarm, set_alarm
from gpupipe.kinds.queue.backend.bookkeeping import changes, new_record
from gpupipe.kinds.queue.backend.machines import NO_ROOM, Template
from gpupipe.kinds.queue.backend.scale import scaling
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.backend.view import Ec2Instance, FleetView
from gpuworker.ledger import MachineRecord, MachineState


class Fleet(Backend[QueueSettings, FleetView]):
    """Described, launched, started, stopped and given up."""

    def __init__(self, ctx: Context[QueueSettings]) -> None:
        super().__init__(ctx)
        self._ledger = ctx.ledger
        self._instances: Sequence[Ec2Instance] = ()
        self._template: Template | None = None

    def observe(self) -> None:
        self._instances = machines.instances(self._ctx)

    def changes(self, records: Mapping[str, MachineRecord], *, looked_at: float) -> Sequence[Change]:
        ctx = self._ctx
        return changes(ctx.settings, self._instances, records, now=ctx.clock(), looked_at=looked_at)

    def view(self, facts: Facts[QueueSettings]) -> FleetView:
        """With the launch template as it is now, where one may be needed."""
        if facts.jobs or facts.start_asked_at:
            self._template = or_else(None, lambda: machines.template(self._ctx))
        fingerprint = self._template.fingerprint if self._template else ""
        return FleetView(**facts.shared(), instances=self._instances, template=fingerprint)

    def decide(self, view: FleetView, *, stalled: frozenset[str]) -> Scaling:
        return scaling(view, stalled=stalled)

    def act(self, action: BackendAction, view: FleetView) -> None:
        match action:
            case StopMachines(machines=which, reason=reason, blameless=blameless):
                for_good = self._ctx.settings.on_idle == "terminate"
                self._stop(view, which, reason, excused=blameless, for_good=for_good)
            case TerminateMachines(machines=which, reason=reason):
                self._stop(view, which, reason, excused=True, for_good=True)
            case StartMachine(machine=machine):
                self._start(view, machine)
            case LaunchMachines(count=count):
                self._launch(count)

    def arm(self, record: MachineRecord) -> None:
        set_alarm(self._ctx, record)

    def disarm(self, machine: str) -> None:
        drop_alarm(self._ctx, machine)

    def describe(self, view: FleetView) -> Mapping[str, Any]:
        return {}

    def _wait(self, code: str, message: str) -> None:
        self.waiting.append(Waiting(code=code, message=message))

    def _stop(self, view: FleetView, which: Sequence[str], reason: str, *, excused: bool, for_good: bool) -> None:
        log.info("machines_off", machines=list(which), reason=reason, for_good=for_good)
        for machine in which:
            self._ledger.change_machine(self._ctx.settings.pipeline, machine, reason=reason, excused=excused)
            record = view.records.get(machine)
            is_spot = record is not None and record.market == "spot"  # a spot machine cannot be stopped and kept
            machines.stop(self._ctx, machine, terminate=for_good or is_spot)

    def _start(self, view: FleetView, machine: str) -> None:
        refusal = machines.start(self._ctx, machine)
        if refusal is None:
            record = view.records.get(machine)
            if record is not None and record.state is MachineState.STOPPED:
                self._ledger.begin_run(record, self._ctx.clock())
            self.added += 1
            self._wait("launching", f"Machine {machine} is being started.")
            return
        self.refusals.append(refusal)
        if refusal.code not in NO_ROOM:
            self._explain([refusal])
            return
        reason = "its zone has no room for it; another is launched elsewhere"
        self._stop(view, [machine], reason, excused=True, for_good=True)
        self._launch(1)

    def _launch(self, count: int) -> None:
        ctx, settings = self._ctx, self._ctx.settings
        if self._template is None:
            self._wait("error", f"There is no launch template {settings.launch_template}; `gpupipe up` makes it.")
            return
        answer = machines.launch(ctx, self._template, count)
        log.info("launch", asked=count, got=[instance.machine for instance in answer.instances])
        for instance in answer.instances:
            record = new_record(settings, instance)
            self._ledger.put_machine(record)
            what = f"{instance.machine} ({instance.instance_type}, {instance.zone})"
            self._wait("launching", f"Machine {what} was just launched.")
            write_down(self._ledger, self, SetAlarm(record=record))
        self.added += len(answer.instances)
        self.refusals += answer.refusals
        if len(answer.instances) < count:
            self._explain(answer.refusals)

    def _explain(self, refusals: Sequence[Refusal]) -> None:
        for code, message in machines.waiting_for(refusals, self._ctx.settings.market):
            self._wait(code, message)
