"""The guard's looks at an endpoint: woken, held at none, explained, and its books kept."""

from __future__ import annotations

from typing import Any

import pytest
from tests.committed import a_result
from tests.functions.conftest import World
from tests.functions.hosted import hosted, realtime, refused, row_of, submit
from tests.functions.looks import HOUR, codes, look

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
        world.ledger.count_result(a_result("j1", number, done=10, machine="main/i"))
    world.now[0] += 3600
    look(world)
    (record,) = world.ledger.machines("segment")
    assert record.state is MachineState.RUNNING
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


def words(status: dict[str, Any]) -> str:
    return " ".join(one["message"] for one in status["waiting"])


# --- why it waits ---


@pytest.mark.parametrize(
    ("state", "failure", "code", "told"),
    [
        (None, "", "error", "`gpupipe up` makes it"),
        ("Creating", "", "launching", "in creation for 5 min"),
        ("Updating", "", "launching", "updating for 5 min"),
        ("RollingBack", "an alarm", "launching", "rolling back a failed update for 5 min (an alarm)"),
        ("Failed", "The image has no entry point", "error", "is Failed (The image has no entry point)"),
        ("Failed", "Insufficient capacity for ml.g5.xlarge", "capacity", "is Failed"),
        ("Failed", "ResourceLimitExceeded: 0 instances", "quota", "is Failed"),
        ("InService", "Unable to provision requested ML compute capacity", "capacity", "could not be scaled"),
        ("Deleting", "", "error", "is being deleted"),
    ],
)
def test_an_endpoint_in_trouble_is_explained(
    world: World, state: str | None, failure: str, code: str, told: str
) -> None:
    world, service = hosted(world)
    service.hosting.status, service.hosting.failure, service.hosting.at = state, failure, world.now[0] - 300
    service.hosting.desired = {"main": 1} if state == "InService" else {"main": 0}
    submit(world, {0: 10})
    status = look(world)
    assert code in codes(status)
    assert told in words(status)


def test_a_quota_is_named_with_where_to_raise_it(world: World) -> None:
    world, service = hosted(world)
    service.hosting.refusal = refused("ResourceLimitExceeded", "The account-level service limit is 0")
    submit(world, {0: 10})
    status = look(world)
    assert "quota" in codes(status)
    assert '"ml.m5.xlarge for endpoint usage"' in words(status)
    (refusal,) = status["refusals"]
    assert (refusal["code"], refusal["instance_type"]) == ("ResourceLimitExceeded", "ml.m5.xlarge")


def test_of_two_variants_the_second_is_woken_when_sagemaker_takes_it(world: World) -> None:
    world, service = hosted(world, variants={"a": "ml.m5.xlarge", "b": "ml.g5.xlarge"})
    service.hosting.desired = {"a": 0, "b": 0}
    service.hosting.busy_after_update = True
    submit(world, {0: 10})
    assert look(world)["refusals"] == []
    assert service.hosting.desired == {"a": 1, "b": 0}
    service.hosting.status = "InService"
    world.now[0] += 60
    look(world)
    assert service.hosting.desired == {"a": 1, "b": 1}


def test_an_instance_that_never_came_is_asked_for_again(world: World) -> None:
    """SageMaker found no room: the endpoint is in service again, still with the count that it was asked for."""
    world, service = hosted(world)
    submit(world, {0: 10})
    look(world)
    asked = service.hosting.asked
    service.hosting.failure = "Unable to provision requested ML compute capacity"
    service.hosting.at = world.now[0]

    world.now[0] += 240
    look(world)
    assert service.hosting.asked == asked
    world.now[0] += 120
    look(world)
    assert service.hosting.asked == asked + 1
    service.hosting.arrive()
    world.now[0] += 600
    look(world)
    assert service.hosting.asked == asked + 1


def test_failing_requests_are_told(world: World) -> None:
    world, _ = hosted(world)
    submit(world, {0: 10})
    world.ledger.return_shard(row_of(world), "n1", reason="no answer", counts=True)
    assert "Requests of 1 shard failed" in words(look(world))


# --- money ---


def test_over_budget_it_is_held_at_none(world: World) -> None:
    world, service = hosted(world, monthly_usd=1.0)
    service.hosting.desired = {"main": 2}
    service.hosting.arrive()
    submit(world, {0: 10})
    look(world)
    world.now[0] += 3 * HOUR
    status = look(world)
    assert (codes(status), service.hosting.desired) == (["budget"], {"main": 0})
    assert "$1.38 of $1.00" in words(status)
    assert service.autoscaling.suspended is True


def test_an_idle_endpoint_that_does_not_fall_asleep_by_itself_is_put_to_sleep(world: World) -> None:
    world, service = hosted(world)
    service.hosting.desired = {"main": 1}
    service.hosting.arrive()
    service.metrics.backlog = 0
    look(world)
    world.now[0] += 1700
    look(world)
    assert service.hosting.desired == {"main": 1}
    world.now[0] += 200
    look(world)
    assert service.hosting.desired == {"main": 0}


def test_a_held_job_does_not_keep_it_awake(world: World) -> None:
    world, service = hosted(world)
    submit(world, {0: 10}, hold=True)
    service.hosting.desired = {"main": 1}
    service.hosting.arrive()
    service.metrics.backlog = 0
    look(world)
    world.now[0] += 1900
    look(world)
    assert service.hosting.desired == {"main": 0}


@pytest.mark.parametrize("backlog", [None, 3])
def test_a_third_partys_work_keeps_it_awake(world: World, backlog: int | None) -> None:
    world, service = hosted(world)
    service.hosting.desired = {"main": 1}
    service.hosting.arrive()
    service.metrics.backlog = backlog
    for _ in range(3):
        look(world)
        world.now[0] += HOUR
    assert service.hosting.desired == {"main": 1}


def test_a_realtime_endpoint_says_that_it_cannot_be_stopped(world: World) -> None:
    world, service = realtime(world)
    service.hosting.desired = {"main": 1}
    service.hosting.arrive()
    status = look(world, "stop")
    assert codes(status) == ["paused"]
    assert "cannot be stopped" in words(status)
    assert (status["wanted"], status["existing"], service.hosting.desired) == (1, 1, {"main": 1})


def test_start_wakes_it_though_there_is_no_work(world: World) -> None:
    world, service = hosted(world)
    look(world, "start")
    assert service.hosting.desired == {"main": 1}
