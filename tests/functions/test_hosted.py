"""The guard's looks at an endpoint: woken, held at none, explained, and its books kept."""

from __future__ import annotations

from tests.functions.conftest import World
from tests.functions.hosted import hosted, row_of, submit
from tests.functions.looks import codes, look

from gpuworker.ledger import MachineState


def test_from_submit_to_none_again(world: World) -> None:
    world, service = hosted(world)
    submit(world, {0: 10, 1: 10})
    status = look(world)
    assert (status["wanted"], status["existing"], codes(status)) == (1, 0, ["launching"])
    assert service.hosting.desired == {"main": 1}
    assert status["endpoint"]["status"] == "InService"
    world.now[0] += 60
    assert codes(look(world)) == ["launching"]
    service.hosting.arrive()
    world.now[0] += 60
    status = look(world)
    assert (status["existing"], codes(status)) == (1, ["ok"])
    (record,) = world.ledger.machines("segment")
    assert (record.machine, record.price_usd_per_hour, record.instance_type) == ("main/1", 0.23, "ml.m5.xlarge")
    for number in (0, 1):
        assert world.ledger.start_shard("j1", number, 0, "main/i") is not None
        world.ledger.commit_shard("j1", number, 0, done=10, failed=0, counts={}, seconds={}, machine="main/i")
    world.now[0] += 3600
    look(world)
    service.hosting.desired = service.hosting.current = {"main": 0}  # by its own scaling
    world.now[0] += 60
    assert look(world)["existing"] == 0
    (record,) = world.ledger.machines("segment")
    assert (record.state, record.seconds_billed) == (MachineState.STOPPED, 3660)
    assert record.runs[-1].interrupted is True


def test_a_held_job_is_sent_by_start(world: World) -> None:
    world, service = hosted(world)
    submit(world, {0: 10}, hold=True)
    assert service.runtime.taken() == []
    assert codes(look(world)) == ["hold"]
    assert service.hosting.desired == {"main": 0}
    look(world, "start")
    assert service.runtime.taken() == [("j1", 0, 0)]
    assert service.hosting.desired == {"main": 1}
    assert not row_of(world).is_unsent


def test_stop_holds_it_at_none_until_start(world: World) -> None:
    world, service = hosted(world)
    submit(world, {0: 10})
    look(world)
    service.hosting.arrive()
    assert codes(look(world, "stop")) == ["paused"]
    assert (service.hosting.desired, service.autoscaling.suspended) == ({"main": 0}, True)
    look(world, "start")
    assert (service.hosting.desired, service.autoscaling.suspended) == ({"main": 0}, False)
    service.hosting.arrive()
    look(world)
    assert service.hosting.desired == {"main": 1}
