"""Situations for the guard to decide upon, built from what matters in them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tests.functions.conftest import NOW, settings, transport
from tests.functions.hosted import endpoint_settings

from gpupipe.functions.actions import Decision
from gpupipe.functions.decide import decide as decide_by
from gpupipe.functions.transport import Delivery
from gpupipe.functions.view import Facts, JobView
from gpupipe.kinds.endpoint.backend.hosted_scale import hosted_scaling
from gpupipe.kinds.endpoint.backend.view import EndpointView
from gpupipe.kinds.queue.backend.scale import scaling
from gpupipe.kinds.queue.backend.view import Ec2Instance, FleetView
from gpuworker.ledger import Intake, JobRecord, JobState, MachineRecord, MachineState, Run, ShardRecord, ShardState

HOUR = 3600.0
FLEET: dict[str, Any] = {"on_idle": "terminate", "max_instances": 8, "shard_items": 90}


def a_job(shards: int = 2, *, job: str = "j1", items: int = 10, kind: str = "submitted", **changes: Any) -> JobView:
    fields: dict[str, Any] = {"state": JobState.PENDING, "created_at": NOW - 60, "items": 0, "shards": shards}
    record = JobRecord(
        job=job, pipeline="segment", project="field7", task="segment", kind=kind, **{**fields, **changes}
    )
    return JobView(record=record, shards=tuple(a_shard(n, job=job, items=items) for n in range(shards)))


def a_shard(number: int = 0, **changes: Any) -> ShardRecord:
    fields: dict[str, Any] = {"job": "j1", "items": 10, "created_at": NOW - 60, "sent_at": NOW - 60}
    return ShardRecord(number=number, **{**fields, **changes})


def running(shard: ShardRecord, *, silent_s: float = 5, started: int = 1) -> ShardRecord:
    return replace(
        shard,
        state=ShardState.RUNNING,
        started=started,
        machine="i-1",
        created_at=NOW - 9 * HOUR,
        sent_at=NOW - 9 * HOUR,
        started_at=NOW - silent_s,
        heartbeat_at=NOW - silent_s,
    )


def finished(shard: ShardRecord, *, ago_s: float = 5) -> ShardRecord:
    return replace(shard, state=ShardState.DONE, done=shard.items, finished_at=NOW - ago_s)


def an_instance(machine: str = "i-1", state: str = "running", **changes: Any) -> Ec2Instance:
    fields = {"instance_type": "g4dn.xlarge", "zone": "us-east-1a", "market": "on-demand", "template": "t1"}
    return Ec2Instance(machine=machine, state=state, **{**fields, "launched_at": NOW - 300, **changes})


def a_record(machine: str = "i-1", **changes: Any) -> MachineRecord:
    fields: dict[str, Any] = {
        "pipeline": "segment",
        "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a",
        "market": "on-demand",
        "launched_at": NOW - 300,
        "run_started_at": NOW - 300,
        "last_seen_at": NOW - 10,
        "price_usd_per_hour": 1.0,
        "state": MachineState.RUNNING,
    }
    return MachineRecord(machine=machine, **{**fields, **changes})


def a_view(
    *jobs: JobView,
    instances: list[Ec2Instance] | None = None,
    records: list[MachineRecord] | None = None,
    queue: int | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> FleetView:
    there = instances or []
    known = [a_record(one.machine) for one in there if one.is_live] if records is None else records
    messages = sum(len(job.open_shards) for job in jobs) if queue is None else queue
    told = settings(**(config or {}))
    return FleetView(
        now=NOW,
        settings=told,
        delivery=delivery_of(told),
        jobs=jobs,
        queue_messages=messages,
        instances=there,
        records={record.machine: record for record in known},
        template="t1",
        **changes,
    )


def delivery_of(told: Any) -> Delivery:
    return transport(told, lambda service, **_: None, lambda: NOW).delivery


def decide(view: FleetView | EndpointView) -> Decision:
    """As the view's kind does."""
    if isinstance(view, EndpointView):
        return decide_by(view, hosted_scaling)
    return decide_by(view, scaling)


def an_endpoint_view(view: FleetView, config: dict[str, Any], **changes: Any) -> EndpointView:
    """The same jobs, of an endpoint."""
    told = endpoint_settings(**config)
    known = {one.name: getattr(view, one.name) for one in fields(Facts)}
    return EndpointView(**{**known, "settings": told, "delivery": delivery_of(told), **changes})


def of(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def codes(decision: Decision) -> list[str]:
    return [one.code for one in decision.waiting]


def message(decision: Decision) -> str:
    return " ".join(one.message for one in decision.waiting)


def with_runs(*runs: Run, **changes: Any) -> MachineRecord:
    return a_record(**{"state": MachineState.STOPPED, "runs": runs, **changes})


def a_run(*, ago_s: float = 10, lasted_s: float = 120, shards: int = 0, **changes: Any) -> Run:
    end = NOW - ago_s
    return Run(started_at=end - lasted_s, stopped_at=end, shards=shards, **changes)


def a_dropin(*shards: ShardRecord, **changes: Any) -> JobView:
    fields = {"kind": "drop-in", "intake": Intake.OPEN, "created_at": NOW - 900}
    return replace(a_job(0, **{**fields, **changes}), shards=shards)
