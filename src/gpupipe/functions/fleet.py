"""The capacity of kind `queue`: EC2 machines, one that keeps its disk or a fleet of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpupipe.functions import log, machines
from gpupipe.functions.actions import (
    LaunchMachines,
    MachineAction,
    Refusal,
    StartMachine,
    StopMachines,
    TerminateMachines,
    Waiting,
)
from gpupipe.functions.alarms import drop_alarm, set_alarm
from gpupipe.functions.bookkeeping import SetAlarm, new_record
from gpupipe.functions.books import write_down
from gpupipe.functions.machines import NO_ROOM, Template
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Instance, View
from gpuworker.ledger import MachineRecord, MachineState


class Fleet:
    """Described, launched, started, stopped and given up."""

    def __init__(self, around: Surroundings) -> None:
        self.refusals: list[Refusal] = []
        self.waiting: list[Waiting] = []
        self.added = 0
        self._around = around
        self._ledger = around.ledger
        self._template: Template | None = None

    def instances(self) -> Sequence[Instance]:
        return machines.instances(self._around)

    def completed(self, view: View) -> View:
        """With the launch template as it is now, where one may be needed."""
        if view.jobs or view.start_asked_at:
            self._template = or_else(None, lambda: machines.template(self._around))
        return replace(view, template=self._template.fingerprint if self._template else "")

    def act(self, action: MachineAction, view: View) -> None:
        match action:
            case StopMachines(machines=which, reason=reason, blameless=blameless):
                for_good = self._around.settings.on_idle == "terminate"
                self._stop(view, which, reason, excused=blameless, for_good=for_good)
            case TerminateMachines(machines=which, reason=reason):
                self._stop(view, which, reason, excused=True, for_good=True)
            case StartMachine(machine=machine):
                self._start(view, machine)
            case LaunchMachines(count=count):
                self._launch(count)

    def arm(self, record: MachineRecord) -> None:
        set_alarm(self._around, record)

    def disarm(self, machine: str) -> None:
        drop_alarm(self._around, machine)

    def status(self, view: View) -> Mapping[str, Any]:
        return {}

    def _wait(self, code: str, message: str) -> None:
        self.waiting.append(Waiting(code=code, message=message))

    def _stop(self, view: View, which: Sequence[str], reason: str, *, excused: bool, for_good: bool) -> None:
        log.info("machines_off", machines=list(which), reason=reason, for_good=for_good)
        for machine in which:
            self._ledger.change_machine(self._around.settings.pipeline, machine, reason=reason, excused=excused)
            record = view.records.get(machine)
            is_spot = record is not None and record.market == "spot"  # a spot machine cannot be stopped and kept
            machines.stop(self._around, machine, terminate=for_good or is_spot)

    def _start(self, view: View, machine: str) -> None:
        refusal = machines.start(self._around, machine)
        if refusal is None:
            record = view.records.get(machine)
            if record is not None and record.state is MachineState.STOPPED:
                self._ledger.begin_run(record, self._around.clock())
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
        around, settings = self._around, self._around.settings
        if self._template is None:
            self._wait("error", f"There is no launch template {settings.launch_template}; `gpupipe up` makes it.")
            return
        answer = machines.launch(around, self._template, count)
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
        for code, message in machines.waiting_for(refusals, self._around.settings.market):
            self._wait(code, message)
