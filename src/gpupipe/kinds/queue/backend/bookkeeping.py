"""Decides what EC2's description of machines means for their records, so that cost and reasons outlive them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gpupipe.functions.changes import BeginRun, Change, EndRun, Forget, NewRecord, SetAlarm
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.backend.view import DESCRIBE_LAG_S, Ec2Instance
from gpuworker.ledger import MachineRecord, MachineState

SPOT_REASONS = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")


def changes(
    settings: QueueSettings,
    instances: Sequence[Ec2Instance],
    records: Mapping[str, MachineRecord],
    *,
    now: float,
    looked_at: float,
) -> list[Change]:
    """What to write down; `looked_at` is when the guard last looked."""
    described = {instance.machine: instance for instance in instances}
    found: list[Change] = []
    for instance in instances:
        record = records.get(instance.machine)
        if record is not None:
            found += _of_known(record, instance, now)
        elif not instance.is_gone:
            found.append(NewRecord(record=new_record(settings, instance)))
    for record in records.values():
        if record.machine not in described and record.state is not MachineState.TERMINATED:
            found += _of_missing(record, now, looked_at)
    return found


def new_record(settings: QueueSettings, instance: Ec2Instance) -> MachineRecord:
    """The record of a machine as EC2 describes it."""
    return MachineRecord(
        machine=instance.machine,
        pipeline=settings.pipeline,
        instance_type=instance.instance_type,
        zone=instance.zone,
        market=instance.market,
        launched_at=instance.launched_at,
        run_started_at=instance.launched_at,
        price_usd_per_hour=settings.prices_usd_per_hour.get(instance.instance_type, 0.0),
        template=instance.template,
    )


def _of_known(record: MachineRecord, instance: Ec2Instance, now: float) -> Iterator[Change]:
    if instance.is_live:
        if record.state is MachineState.STOPPED:
            # EC2 gives each start its own launch time; the emulator keeps the first.
            yield BeginRun(record=record, at=max(instance.launched_at, min(record.stopped_at or now, now)))
        elif record.is_up and not record.alarmed:
            yield SetAlarm(record=record)
        return
    if record.is_up and not _is_stale(record, instance, now):
        stopped = MachineState.TERMINATED if instance.is_gone else MachineState.STOPPED
        at = instance.stopped_at if instance.stopped_at and instance.stopped_at >= record.run_started_at else now
        reason = record.reason or instance.reason
        spot = instance.reason.startswith(SPOT_REASONS)
        yield EndRun(record=record, state=stopped, at=at, reason=reason, interrupted=spot)
    if instance.is_gone and (record.state is not MachineState.TERMINATED or record.alarmed):
        yield Forget(record=record)


def _is_stale(record: MachineRecord, instance: Ec2Instance, now: float) -> bool:
    """Does EC2 still describe the stop before this start? It takes a moment to catch up with itself."""
    ended_before = instance.stopped_at is None or instance.stopped_at < record.run_started_at
    return ended_before and not instance.is_gone and now - record.run_started_at < DESCRIBE_LAG_S


def _of_missing(record: MachineRecord, now: float, looked_at: float) -> Iterator[Change]:
    """EC2 forgets a terminated machine within an hour; one just launched it may not describe yet."""
    if record.is_up and now - record.run_started_at < DESCRIBE_LAG_S:
        return
    if record.is_up:
        last_sign = max(record.last_seen_at or 0.0, record.run_started_at, looked_at)
        reason = record.reason or "EC2 knows it no more"
        yield EndRun(record=record, state=MachineState.TERMINATED, at=min(now, last_sign), reason=reason)
    yield Forget(record=record)
