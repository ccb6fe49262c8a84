"""The guard's machines: started, stopped, replaced, one look at a time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.functions.conftest import World, made, make_template, settings
from tests.functions.looks import HOUR, alarm_names, codes, configured, look, states, submit, the_machine, work

from gpupipe.functions.dispatch import dispatch
from gpuworker.contract import manifest_key
from gpuworker.ledger import JobState, MachineState

# --- the life of a machine ---


def test_from_submit_to_a_stopped_machine_and_back(room: World) -> None:
    submit(room, {0: 10, 1: 10})
    status = look(room)
    assert (status["wanted"], status["existing"], codes(status)) == (1, 1, ["launching"])
    assert (status["pending_items"], status["oldest_pending_at"]) == (20, room.now[0])
    assert room.ledger.guard_status("segment") == status
    assert states(room) == ["running"]
    record = the_machine(room)
    assert (record.template, record.price_usd_per_hour, record.run_started_at) == ("t1", 0.526, room.now[0])
    assert alarm_names(room) == [f"demo-dev-segment-idle-{record.machine}"]

    room.now[0] += 60
    look(room)
    assert states(room) == ["running"]
    work(room)
    work(room, 1)
    room.now[0] += 540
    status = look(room)
    assert (status["wanted"], status["existing"], codes(status)) == (0, 1, ["ok"])
    job = room.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED

    room.ctx.client("ec2").stop_instances(InstanceIds=[record.machine])  # it powers itself off
    room.now[0] += 60
    look(room)
    stopped = the_machine(room)
    assert (stopped.state, stopped.runs[-1].shards) == (MachineState.STOPPED, 2)
    assert stopped.seconds_billed >= 60
    billed = stopped.seconds_billed

    room.now[0] += HOUR
    submit(room, {0: 10}, job="j2")
    status = look(room)
    assert codes(status) == ["launching"]
    again = the_machine(room)
    assert (again.machine, again.state, again.run_shards) == (record.machine, MachineState.LAUNCHED, 0)
    assert (again.run_started_at, again.seconds_billed) == (room.now[0], billed)
    assert states(room) == ["running"]


def test_a_look_with_nothing_to_do_changes_nothing(room: World) -> None:
    assert look(room) == {
        "at": room.now[0],
        "wanted": 0,
        "existing": 0,
        "pending_items": 0,
        "oldest_pending_at": None,
        "waiting": [{"code": "ok", "message": "There is nothing to do."}],
        "refusals": [],
        "month_usd": 0.0,
    }
    assert room.ledger.machines("segment") == []


def test_a_look_that_finds_nothing_new_says_nothing(room: World, capsys: pytest.CaptureFixture[str]) -> None:
    look(room)
    assert '"event": "look"' in capsys.readouterr().out
    look(room)
    assert capsys.readouterr().out == ""
    submit(room, {0: 10})
    capsys.readouterr()
    look(room)
    assert '"event": "look"' in capsys.readouterr().out


def test_a_fleet_grows_with_the_work_and_is_terminated(room: World) -> None:
    fleet = configured(room, on_idle="terminate", max_instances=3, market="spot", shard_items=90)
    submit(fleet, dict.fromkeys(range(40), 90))
    look(fleet)
    assert states(fleet) == ["running"] * 3
    look(fleet, "stop")
    assert states(fleet) == []
    fleet.now[0] += 60
    look(fleet)
    records = fleet.ledger.machines("segment")
    assert {record.state for record in records} == {MachineState.TERMINATED}
    assert all(record.runs[-1].interrupted and record.reason.startswith("paused") for record in records)
    assert alarm_names(fleet) == []


def test_a_changed_template_replaces_the_stopped_machine(room: World) -> None:
    submit(room, {0: 10})
    look(room)
    first = the_machine(room).machine
    room.ctx.client("ec2").stop_instances(InstanceIds=[first])
    room.ctx.client("ec2").delete_launch_template(LaunchTemplateName=settings().launch_template)
    make_template(room.ctx.client("ec2"), "t2")
    room.now[0] += 60
    look(room)
    assert states(room) == ["running"]
    room.now[0] += 60
    look(room)
    record = the_machine(room)
    assert record.machine != first
    assert record.template == "t2"
    assert alarm_names(room) == [f"demo-dev-segment-idle-{record.machine}"]


class NoRoom:
    """EC2 without room for the stopped machine in its zone, which the emulator never says."""

    def __init__(self, ec2: Any, code: str) -> None:
        self._ec2, self._code = ec2, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ec2, name)

    def start_instances(self, **_: Any) -> None:
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": self._code, "Message": "no"}}, "StartInstances")


@pytest.mark.parametrize(
    ("code", "replaced", "told"),
    [("InsufficientInstanceCapacity", True, "launching"), ("VcpuLimitExceeded", False, "quota")],
)
def test_a_kept_machine_that_cannot_start(room: World, code: str, replaced: bool, told: str) -> None:
    submit(room, {0: 10})
    look(room)
    first = the_machine(room).machine
    room.ctx.client("ec2").stop_instances(InstanceIds=[first])
    room.now[0] += 60
    status = look(room, ctx=room.with_client("ec2", NoRoom(room.ctx.client("ec2"), code)))
    assert told in codes(status)
    assert [refusal["code"] for refusal in status["refusals"]] == [code]
    assert states(room) == (["running"] if replaced else ["stopped"])
    room.now[0] += 60
    look(room)
    assert (the_machine(room).machine != first) is replaced


def test_refusals_are_remembered_while_it_waits(room: World) -> None:
    submit(room, {0: 10})
    room.ledger.put_guard_status("segment", {"refusals": [{"code": "Old", "at": room.now[0] - 100}]})
    room.ctx.client("ec2").delete_launch_template(LaunchTemplateName=settings().launch_template)
    status = look(room)
    assert codes(status) == ["error"]
    assert "gpupipe up" in status["waiting"][0]["message"]
    assert [refusal["code"] for refusal in status["refusals"]] == ["Old"]
    make_template(room.ctx.client("ec2"))
    assert look(room)["refusals"] == []


def test_the_hard_limit_stops_a_machine_that_does_not(room: World) -> None:
    submit(room, {0: 10})
    look(room)
    room.now[0] += 4.5 * HOUR
    look(room)
    assert states(room) == ["stopped"]
    # The emulator's clock says when it stopped; a machine's own limit would have been hit by then.
    record = the_machine(room)
    ended = room.ledger.end_run(record, MachineState.STOPPED, stopped_at=room.now[0], reason=record.reason)
    assert ended is True
    status = look(room)
    job = room.ledger.job("j1")
    assert job is not None
    assert (job.state, codes(status)) == (JobState.STALLED, ["stalled"])
    assert "4 h" in job.reason
    assert states(room) == ["stopped"]
    look(room, "start")
    job = room.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.PENDING
    assert states(room) == ["running"]


# --- start and stop ---


def test_stop_pauses_until_start(room: World) -> None:
    submit(room, {0: 10})
    look(room)
    status = look(room, "stop")
    assert codes(status) == ["paused"]
    assert states(room) == ["stopped"]
    room.now[0] += 60
    look(room)
    assert states(room) == ["stopped"]
    room.now[0] += 60
    look(room, "start")
    assert states(room) == ["running"]
    assert the_machine(room).runs[-1].interrupted is True


def test_start_begins_held_jobs(room: World) -> None:
    room.put_job({0: 10}, hold=True)
    dispatch(room.ctx, [made(manifest_key("j1"))], lambda: 900_000)
    assert codes(look(room)) == ["hold"]
    assert states(room) == []
    look(room, "start")
    job = room.ledger.job("j1")
    assert job is not None
    assert (job.state, job.hold) == (JobState.PENDING, False)
    assert states(room) == ["running"]


def test_start_without_work_starts_a_machine_once(room: World) -> None:
    look(room, "start")
    assert states(room) == ["running"]
    room.ctx.client("ec2").stop_instances(InstanceIds=[the_machine(room).machine])
    for _ in range(3):
        room.now[0] += 60
        look(room)
    assert states(room) == ["stopped"]


# --- one at a time ---


def test_a_look_waits_for_another_and_leaves_it_to_it(room: World) -> None:
    submit(room, {0: 10})
    room.ledger.acquire_lease("segment", "somebody", 600)
    status = room.guard({"action": "stop"}, left_s=0.3)
    assert status["skipped"] is True
    assert states(room) == []
    assert room.ledger.control("segment")["paused"] is True
    room.now[0] += 601
    assert codes(look(room)) == ["paused"]


def test_of_many_looks_one_waits_and_the_others_leave(room: World) -> None:
    room.ledger.acquire_lease("segment", "looking", 600)
    room.ledger.acquire_lease("segment#next", "waiting", 600)
    assert room.guard({}, left_s=600)["skipped"] is True
    assert room.ledger.release_lease("segment#next", "waiting") is True


def test_the_lease_is_given_back_after_a_failure(room: World) -> None:
    broken = room.with_client("ec2", None)
    with pytest.raises(AttributeError):
        room.guard({}, ctx=broken)
    assert room.ledger.acquire_lease("segment", "other", 1) is True


def test_what_fails_does_not_keep_machines_from_being_stopped(room: World) -> None:
    submit(room, {0: 10})
    look(room)
    room.now[0] += 4.5 * HOUR
    room.ctx.client("sqs").delete_queue(QueueUrl=room.ctx.settings.work_queue_url)
    look(room, ctx=room.with_client("cloudwatch", None))
    assert states(room) == ["stopped"]
    room.ctx.client("sqs").create_queue(QueueName="demo-dev-segment-work")
