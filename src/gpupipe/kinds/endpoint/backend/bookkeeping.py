"""Decides what the instances of an endpoint mean for their records, so that cost and reasons outlive them; pure.

Instances have no names here, and come and go by scaling: the n-th of a variant is called `<variant>/<n>`, and is the
same whenever there are so many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpupipe.functions.changes import BeginRun, Change, EndRun, NewRecord, SetAlarm
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.kinds.endpoint.backend.view import Endpoint
from gpuworker.ledger import MachineRecord, MachineState


def changes(
    settings: EndpointSettings, endpoint: Endpoint | None, records: Mapping[str, MachineRecord], *, now: float
) -> Iterator[Change]:
    """What to write down."""
    serving = dict(_serving(endpoint))
    for name, instance_type in serving.items():
        record = records.get(name)
        if record is None:
            yield NewRecord(record=_new_record(settings, name, instance_type, now))
        elif record.state is MachineState.STOPPED:
            yield BeginRun(record=record, at=now)
        elif record.is_up and not record.alarmed:
            yield SetAlarm(record=record)
    for name, record in records.items():
        if record.is_up and name not in serving:
            yield EndRun(record=record, state=MachineState.STOPPED, at=now, reason=record.reason or "scaled in")


def _serving(endpoint: Endpoint | None) -> Iterator[tuple[str, str]]:
    """The instances that are there, by name, with their types."""
    for variant in endpoint.variants if endpoint else ():
        for number, instance_type in enumerate(variant.instance_types, start=1):
            yield f"{variant.name}/{number}", instance_type


def _new_record(settings: EndpointSettings, name: str, instance_type: str, now: float) -> MachineRecord:
    return MachineRecord(
        machine=name,
        pipeline=settings.pipeline,
        instance_type=instance_type,
        zone="",
        market="on-demand",
        launched_at=now,
        run_started_at=now,
        price_usd_per_hour=settings.prices_usd_per_hour.get(instance_type, 0.0),
    )
