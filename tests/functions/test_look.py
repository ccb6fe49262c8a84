"""What a look does for jobs: lost messages, quiet drop-in jobs, and all of it though killed."""

from __future__ import annotations

import time

import pytest
from tests.committed import a_result
from tests.functions.conftest import Killed, Noting, World, made
from tests.functions.looks import look, states, submit
from tests.kill_points import KillPoints, at_kill_points

from gpupipe.functions.closing import close_dropin
from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.lease import LEASE_S
from gpuworker.contract import Failure, ItemResult, Manifest, ShardResult, manifest_key, result_key
from gpuworker.ledger import Intake, JobState, MachineRecord, MachineState, ShardState

# --- lost work ---


def test_a_lost_message_is_sent_again(room: World) -> None:
    submit(room, {0: 10, 1: 10})
    room.sent()
    room.now[0] += 601
    look(room)
    assert room.sent() == []
    room.now[0] += 60
    look(room)
    assert sorted(message.number for message in room.sent()) == [0, 1]
    look(room)
    assert room.sent() == []


def test_a_shard_whose_workers_vanish_is_marked_dead_in_the_end(room: World) -> None:
    submit(room, {0: 10})
    for times in range(1, 5):
        (message,) = room.sent()
        started = room.ledger.start_shard("j1", message.number, message.generation, "i-1")
        assert started is not None
        assert started.started == times
        room.now[0] += 700
        look(room)
    row, job = room.ledger.shard("j1", 0), room.ledger.job("j1")
    assert row is not None
    assert job is not None
    assert (row.state, job.state) == (ShardState.DEAD, JobState.FINISHED)
    assert room.sent() == []


def test_a_shard_that_was_committed_is_not_dead(room: World) -> None:
    # given a worker that died between its commit and the ledger's row, after its message's last receive
    submit(room, {0: 2})
    for _ in range(room.ctx.settings.max_receives):
        room.ledger.start_shard("j1", 0, 0, "i-1")
    room.sent()
    result = ShardResult(
        job="j1",
        number=0,
        generation=0,
        machine="i-1",
        engine={},
        header={},
        started_at=1.0,
        finished_at=2.0,
        items=[
            ItemResult(output="a", key="inputs/p/a.jpg", etag="e", artifacts={}, fragment={}, counts={"annotations": 3})
        ],
        failures=[Failure(output="b", key="inputs/p/b.jpg", etag="e", code="timeout", message="")],
    )
    place = {"Bucket": room.ctx.settings.bucket, "Key": result_key("j1", 0, 0)}
    room.ctx.s3.put_object(**place, Body=result.to_gzip())
    # when the guard gives it up
    room.now[0] += 700
    look(room)
    # then what is visible counts
    row, job = room.ledger.shard("j1", 0), room.ledger.job("j1")
    assert row is not None
    assert job is not None
    assert (row.state, row.done, row.failed, row.counts) == (ShardState.DONE, 1, 1, {"annotations": 3})
    assert job.state is JobState.FINISHED


# --- drop-ins ---


def drop(world: World, *names: str) -> str:
    dispatch(world.ctx, [made(f"incoming/field7/{name}") for name in names], lambda: 900_000)
    return str(world.ledger.dropin_job("segment", "field7"))


def test_a_quiet_dropin_job_is_closed_with_its_manifest(room: World) -> None:
    job = drop(room, "a.jpg", "b.jpg")
    room.ledger.allocate_shard(job)  # by an invocation that was killed before it registered the shard
    room.ledger.start_shard(job, 0, 0, "i-1")
    room.ledger.count_result(a_result(job, 0, done=2))
    look(room)
    record = room.ledger.job(job)
    assert record is not None
    assert record.intake is Intake.OPEN
    room.now[0] += 61
    look(room)
    record = room.ledger.job(job)
    assert record is not None
    assert (record.intake, record.state) == (Intake.SEALED, JobState.FINISHED)
    manifest = Manifest.from_json(room.get(manifest_key(job)))
    assert (manifest.shards, manifest.project) == ({"0": 2}, "field7")
    room.sent()
    dispatch(room.ctx, [made(manifest_key(job))], lambda: 900_000)
    assert room.sent() == []
    assert room.ledger.job(job) == record
    assert drop(room, "c.jpg") != job


def test_an_object_that_arrives_while_closing_is_not_lost(room: World) -> None:
    job = drop(room, "a.jpg")
    room.ledger.count_result(a_result(job, 0, done=1))
    room.now[0] += 61
    seen = room.ledger.job(job)
    assert seen is not None
    drop(room, "b.jpg")
    assert close_dropin(room.ctx, seen) is False
    record = room.ledger.job(job)
    assert record is not None
    assert (record.intake, record.is_over) == (Intake.OPEN, False)


def much_to_do(room: World) -> str:
    """A quiet drop-in job to close, a submitted one to launch for, a lost message, and a machine that went."""
    base = room.now[0] = float(int(time.time()))
    job = drop(room, "a.jpg")
    room.ledger.count_result(a_result(job, 0, done=1))
    gone = MachineRecord(
        machine="i-gone",
        pipeline="segment",
        instance_type="g4dn.xlarge",
        zone="z",
        market="spot",
        launched_at=base,
        run_started_at=base,
        price_usd_per_hour=1.0,
    )
    room.ledger.put_machine(gone)
    submit(room, {0: 10})
    room.sent()
    room.now[0] += 700
    return job


@at_kill_points
def test_killed_anywhere_the_next_look_completes_it(room: World, kill_points: KillPoints) -> None:
    noting = Noting()
    much_to_do(room)
    look(room, ctx=room.under(noting))
    assert {"create_fleet", "put_object", "send_message_batch"} <= {*noting.operations}
    for calls in kill_points(noting.operations):
        room.sent()
        room.forget()
        job = much_to_do(room)
        with pytest.raises(Killed):
            look(room, ctx=room.mortal(calls))
        room.now[0] += LEASE_S + 1  # the lease of the one that was killed runs out
        look(room)
        assert states(room) == ["running"]
        record, machine = room.ledger.job(job), room.ledger.machine("segment", "i-gone")
        assert record is not None
        assert machine is not None
        assert (record.state, record.intake) == (JobState.FINISHED, Intake.SEALED)
        assert Manifest.from_json(room.get(manifest_key(job))).shards == {"0": 1}
        assert (machine.state, len(machine.runs)) == (MachineState.TERMINATED, 1)
        assert 60 <= machine.seconds_billed <= 770
        if calls and room.sent() == []:  # requeued, and killed before it was sent: the next time limit finds it
            room.now[0] += 700
            look(room)
            assert [message.number for message in room.sent()] == [0]
