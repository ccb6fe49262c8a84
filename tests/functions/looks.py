"""What tests do with whole looks of the guard: submit, look, work as a worker does, and see what there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.committed import a_result
from tests.functions.conftest import World, made, settings

from gpupipe.functions import machines
from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.guard import guard
from gpupipe.functions.surroundings import Surroundings
from gpuworker.contract import manifest_key
from gpuworker.ledger import MachineRecord, MachineState

HOUR = 3600.0


def configured(world: World, **changes: Any) -> World:
    url = world.around.settings.work_queue_url
    return replace(world, around=replace(world.around, settings=settings(work_queue_url=url, **changes)))


def submit(world: World, shards: dict[int, int], job: str = "j1") -> None:
    world.put_job(shards, job=job)
    assert dispatch(world.around, [made(manifest_key(job))], lambda: 900_000) == set()


def look(world: World, action: str = "", *, around: Surroundings | None = None) -> dict[str, Any]:
    event = {"action": action} if action else {}
    return guard(around or world.around, event, holder="me", left_s=60)


def states(world: World) -> list[str]:
    return sorted(one.state for one in machines.instances(world.around) if not one.is_gone)


def the_machine(world: World) -> MachineRecord:
    (record,) = [one for one in world.ledger.machines("segment") if one.state is not MachineState.TERMINATED]
    return record


def alarm_names(world: World) -> list[str]:
    return [alarm["AlarmName"] for alarm in world.around.alarms.describe_alarms()["MetricAlarms"]]


def codes(status: dict[str, Any]) -> list[str]:
    return [one["code"] for one in status["waiting"]]


def work(world: World, number: int = 0, job: str = "j1") -> None:
    """As a worker does with a shard."""
    row = world.ledger.start_shard(job, number, 0, the_machine(world).machine)
    assert row is not None
    world.ledger.count_result(a_result(job, number, done=row.items, machine=the_machine(world).machine))
    world.ledger.machine_seen("segment", the_machine(world).machine, shards_committed=1)
