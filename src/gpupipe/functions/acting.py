"""Carries out what was decided, and keeps the machines' books; small steps, each safe to repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gpupipe.functions import log, machines
from gpupipe.functions.actions import (
    Action,
    BuryShard,
    CloseDropin,
    FinishJob,
    LaunchMachines,
    NoteRunning,
    ResendShard,
    StallJob,
    StartMachine,
    StopMachines,
    TerminateMachines,
    Waiting,
)
from gpupipe.functions.alarms import drop_alarm, set_alarm
from gpupipe.functions.bookkeeping import BeginRun, Change, EndRun, Forget, NewRecord, SetAlarm, changes, new_record
from gpupipe.functions.closing import close_dropin
from gpupipe.functions.machines import NO_ROOM, Refusal, Template
from gpupipe.functions.sending import send
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Instance, View
from gpuworker.contract import ContractError, Message, ShardResult, result_key
from gpuworker.ledger import JobState, MachineState, ShardRecord


class Acting:
    """What one look does, and what it learns by it."""

    def __init__(self, around: Surroundings, view: View, made_from: Template | None) -> None:
        self.refusals: list[Refusal] = []
        self.waiting: list[Waiting] = []
        self.added = 0
        """Machines started or launched by this look."""
        self._around = around
        self._ledger = around.ledger
        self._view = view
        self._template = made_from

    def carry_out(self, actions: Sequence[Action]) -> None:
        """Do what was decided; what fails is logged, told, and decided again at the next look."""
        lost = [action.shard for action in actions if isinstance(action, ResendShard)]
        if lost:
            self._attempt("ResendShard", partial(_send_again, self._around, lost))
        for action in actions:
            if not isinstance(action, ResendShard):
                self._attempt(type(action).__name__, partial(self._act, action))

    def _attempt(self, what: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            log.error("guard_action_failed", error, action=what)
            self._wait("error", f"The guard could not do {what}: {error}. It tries again every minute.")

    def _wait(self, code: str, message: str) -> None:
        self.waiting.append(Waiting(code=code, message=message))

    def _act(self, action: Action) -> None:
        match action:
            case FinishJob(job=job):
                self._ledger.finish_if_complete(job)
            case CloseDropin(record=record):
                close_dropin(self._around, record)
            case NoteRunning(job=job):
                waiting = {JobState.HELD, JobState.PENDING, JobState.STALLED}
                self._ledger.set_job_state(job, JobState.RUNNING, only_from=waiting)
            case StallJob(job=job, reason=reason):
                log.warning("job_stalled", job=job, reason=reason)
                moving = {JobState.PENDING, JobState.RUNNING}
                self._ledger.set_job_state(job, JobState.STALLED, reason=reason, only_from=moving)
            case BuryShard(shard=shard, reason=reason):
                self._bury(shard, reason)
            case StopMachines(machines=which, reason=reason, blameless=blameless):
                self._stop(which, reason, excused=blameless, for_good=self._around.settings.on_idle == "terminate")
            case TerminateMachines(machines=which, reason=reason):
                self._stop(which, reason, excused=True, for_good=True)
            case StartMachine(machine=machine):
                self._start(machine)
            case LaunchMachines(count=count):
                self._launch(count)

    def _bury(self, shard: ShardRecord, reason: str) -> None:
        if _count_commit(self._around, shard):
            log.info("commit_counted", job=shard.job, shard=shard.number)
        else:
            log.warning("shard_dead", job=shard.job, shard=shard.number, reason=reason)
            self._ledger.bury_shard(shard.job, shard.number, shard.generation, reason)
        self._ledger.finish_if_complete(shard.job)

    def _stop(self, which: Sequence[str], reason: str, *, excused: bool, for_good: bool) -> None:
        log.info("machines_off", machines=list(which), reason=reason, for_good=for_good)
        for machine in which:
            self._ledger.change_machine(self._around.settings.pipeline, machine, reason=reason, excused=excused)
            record = self._view.records.get(machine)
            is_spot = record is not None and record.market == "spot"  # a spot machine cannot be stopped and kept
            machines.stop(self._around, machine, terminate=for_good or is_spot)

    def _start(self, machine: str) -> None:
        refusal = machines.start(self._around, machine)
        if refusal is None:
            record = self._view.records.get(machine)
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
        self._stop([machine], reason, excused=True, for_good=True)
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
            _write_down_or_log(around, SetAlarm(record=record))
        self.added += len(answer.instances)
        self.refusals += answer.refusals
        if len(answer.instances) < count:
            self._explain(answer.refusals)

    def _explain(self, refusals: Sequence[Refusal]) -> None:
        for code, message in machines.waiting_for(refusals, self._around.settings.market):
            self._wait(code, message)


def _count_commit(around: Surroundings, shard: ShardRecord) -> bool:
    """Tell the ledger of a commit whose worker died before it could; False where there is none."""
    place = shard.job, shard.number, shard.generation
    try:
        data = around.s3.get_object(**around.in_bucket, Key=result_key(*place))["Body"].read()
        result = ShardResult.from_gzip(data)
    except (around.s3.exceptions.NoSuchKey, ContractError):
        return False
    counts: Counter[str] = Counter()
    for item in result.items:
        counts.update(item.counts)
    done, failed = len(result.items), len(result.failures)
    return around.ledger.commit_shard(
        *place, done=done, failed=failed, counts=counts, seconds=result.timings, machine=result.machine
    )


def _send_again(around: Surroundings, shards: Sequence[ShardRecord]) -> None:
    still_lost = [shard for shard in shards if around.ledger.requeue_shard(shard)]
    named = [(shard.job, shard.number) for shard in still_lost[:20]]
    log.warning("shards_sent_again", shards=named, of=len(still_lost))
    send(around, [Message(job=s.job, number=s.number, generation=s.generation) for s in still_lost])


# --- books ---


def keep_books(around: Surroundings, existing: Sequence[Instance], *, looked_at: float) -> None:
    """Write down what became of machines since the guard `looked_at` them."""
    records = {record.machine: record for record in around.ledger.machines(around.settings.pipeline)}
    for change in changes(around.settings, existing, records, now=around.clock(), looked_at=looked_at):
        _write_down_or_log(around, change)


def _write_down_or_log(around: Surroundings, change: Change) -> None:
    """What fails is found again by the next look, and must not keep this one from stopping machines."""
    try:
        _write_down(around, change)
    except Exception as error:
        log.error("books_not_kept", error, change=type(change).__name__, machine=change.record.machine)


def _write_down(around: Surroundings, change: Change) -> None:
    ledger = around.ledger
    match change:
        case NewRecord(record=record):
            ledger.put_machine(record)
        case BeginRun(record=record, at=at):
            ledger.begin_run(record, at)
        case EndRun(record=record, state=state, at=at, reason=reason, interrupted=interrupted):
            ledger.end_run(record, state, stopped_at=at, reason=reason, interrupted=interrupted)
            log.info("machine_off", machine=record.machine, state=state, reason=reason, shards=record.run_shards)
        case Forget(record=record):
            drop_alarm(around, record.machine)
            ledger.forget_machine(record)
        case SetAlarm(record=record):
            set_alarm(around, record)
            ledger.change_machine(record.pipeline, record.machine, alarmed=True)
