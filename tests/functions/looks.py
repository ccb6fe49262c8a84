"""What tests do with whole looks of the guard: submit, look, work as a worker does, and see what there is."""

from __future__ import annotations

from typing import Any

from tests.committed import a_result
from tests.functions.conftest import World, made

from gpupipe.functions.context import Context
from gpupipe.functions.dispatch import dispatch
from gpupipe.kinds.queue.backend import machines
from gpuworker.contract import manifest_key
from gpuworker.ledger import MachineRecord, MachineState

HOUR = 3600.0


def configured(world: World, **changes: Any) -> World:
    return world.with_settings(**changes)


def submit(world: World, shards: dict[int, int], job: str = "j1") -> None:
    world.put_job(shards, job=job)
    assert dispatch(world.ctx, [made(manifest_key(job))], lambda: 900_000) == set()


def look(world: World, action: str = "", *, ctx: Context[Any] | None = None) -> dict[str, Any]:
    event = {"action": action} if action else {}
    return world.guard(event, ctx=ctx)


def states(world: World) -> list[str]:
    return sorted(one.state for one in machines.instances(world.ctx) if not one.is_gone)


def the_machine(world: World) -> MachineRecord:
    (record,) = [one for one in world.ledger.machines("segment") if one.state is not MachineState.TERMINATED]
    return record


def alarm_names(world: World) -> list[str]:
    return [alarm["AlarmName"] for alarm in world.ctx.client("cloudwatch").describe_alarms()["MetricAlarms"]]


def codes(status: dict[str, Any]) -> list[str]:
    return [one["code"] for one in status["waiting"]]


def work(world: World, number: int = 0, job: str = "j1") -> None:
    """As a worker does with a shard."""
    row = world.ledger.start_shard(job, number, 0, the_machine(world).machine)
    assert row is not None
    world.ledger.count_result(a_result(job, number, done=row.items, machine=the_machine(world).machine))
    world.ledger.machine_seen("segment", the_machine(world).machine, shards_committed=1)
