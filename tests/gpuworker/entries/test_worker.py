import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until
from tests.hostile_messages import HOSTILE

from gpuworker.contract import Shard
from gpuworker.entries.worker import Reason, Worker
from gpuworker.ledger import JobState, MachineRecord, ShardState
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.process.gauge import Gauge, Reading

SQS_BYTES = 262_144
"""The emulator takes no larger message."""


class Running:
    """A worker in a thread of this process."""

    def __init__(self, station: Station, task: FakeTask | None = None, *, context: Any = None, **settings: Any) -> None:
        self.ticks = 0
        self.reasons: list[Reason] = []
        self.worker = Worker(
            settings=station.settings(**settings),
            context=context or station.context(task or FakeTask(batch_size=1)),
            queue=station.queue(),
            on_tick=self._tick,
            heartbeat_s=0.1,
            wait_for_message_s=1,
        )
        self._thread = threading.Thread(target=lambda: self.reasons.append(self.worker.run()), daemon=True)
        self._thread.start()

    def _tick(self) -> None:
        self.ticks += 1

    def finish(self, shard: Shard) -> None:
        """Let it work until the shard's job is over, and then end."""
        until(lambda: _is_over(self.worker, shard))
        self.worker.stop(Reason.SIGNAL)
        self.end()

    def end(self, within_s: float = 20.0) -> Reason:
        self._thread.join(within_s)
        [reason] = self.reasons
        return reason


def _is_over(worker: Worker, shard: Shard) -> bool:
    job = worker.context.ledger.job(shard.job)
    return job is not None and job.is_over and not worker._held


def test_worker_does_all_shards_and_ends_when_idle(station: Station) -> None:
    shards = station.job(["tree"] * 10 + ["bad"], shard_items=3)
    running = Running(station, idle_minutes=0.02)
    assert running.end() is Reason.IDLE
    assert [station.row(shard).state for shard in shards] == [ShardState.DONE] * 4
    job = station.ledger.job(shards[0].job)
    assert job is not None
    assert job.state is JobState.FINISHED
    totals = station.ledger.totals(shards[0].job)
    assert (totals.done, totals.failed) == (10, 1)
    assert station.messages() == {"waiting": 0, "held": 0}
    assert running.ticks > 0


def test_neighbouring_shards_are_in_the_stream_together(station: Station) -> None:
    # given a model that is busy with the only item of a shard
    [shard, *_] = station.job(["hang-in-model"] * 4, shard_items=1)
    running = Running(station)
    # then two more shards are made ready meanwhile, and the last is left to other machines
    until(lambda: running.worker.context.stream.inference.ready.qsize() == 2)
    assert station.messages() == {"waiting": 1, "held": 3}
    FakeTask.let_go.set()
    running.finish(shard)


def test_no_more_than_two_shards_wait_for_the_model(station: Station) -> None:
    [shard, *_] = station.job(["hang-in-model"] * 10, shard_items=2)
    running = Running(station)
    until(lambda: running.worker.context.stream.inference.ready.qsize() == 3)
    # then the rest stays for other machines
    assert station.messages() == {"waiting": 3, "held": 2}
    assert not running.worker._has_room()
    FakeTask.let_go.set()
    running.finish(shard)


def test_told_to_stop_it_gives_everything_back(station: Station) -> None:
    shards = station.job(["tree"] * 12, shard_items=6, halts_after=3)
    running = Running(station)
    until(lambda: any(station.row(shard).progress > 0 for shard in shards))
    running.worker.stop(Reason.SIGNAL)
    assert running.end(within_s=10) is Reason.SIGNAL
    assert [(station.row(shard).state, station.row(shard).started) for shard in shards] == [(ShardState.PENDING, 0)] * 2
    assert until(lambda: station.messages() == {"waiting": 2, "held": 0})


def test_hard_limit_ends_it_in_the_middle_of_a_shard(station: Station) -> None:
    [shard] = station.job(["hang-in-model"] * 2)
    running = Running(station, max_processing_hours=1.0 / 3600)
    assert running.end() is Reason.HARD_LIMIT
    assert station.row(shard).state is ShardState.PENDING
    assert until(lambda: station.messages()["waiting"] == 1)


def test_spot_notice_is_written_on_the_machine(station: Station) -> None:
    station.ledger.put_machine(
        MachineRecord(
            machine="i-1",
            pipeline="segment",
            instance_type="g4dn.xlarge",
            zone="a",
            market="spot",
            launched_at=1.0,
            price_usd_per_hour=0.2,
            run_started_at=1.0,
        )
    )
    running = Running(station)
    until(lambda: station.ledger.machines("segment")[0].last_seen_at)
    running.worker.stop(Reason.SPOT)
    running.worker.stop(Reason.SIGNAL)
    assert running.end() is Reason.SPOT, "the first reason counts"
    assert station.ledger.machines("segment")[0].state == "interrupted"


def test_commits_are_counted_on_the_machine(station: Station) -> None:
    record = MachineRecord(
        machine="i-1",
        pipeline="segment",
        instance_type="g4dn.xlarge",
        zone="a",
        market="spot",
        launched_at=1.0,
        price_usd_per_hour=0.2,
        run_started_at=1.0,
    )
    station.ledger.put_machine(record)
    [shard, _] = station.job(["tree"] * 4, shard_items=2)
    Running(station).finish(shard)
    assert station.ledger.machines("segment")[0].run_shards == 2


def test_queue_that_does_not_answer_is_asked_again_until_idle(station: Station) -> None:
    class Deaf:
        """A client without a network."""

        exceptions = station.client("sqs").exceptions

        def receive_message(self, **_: Any) -> None:
            raise ConnectionError("no network")

    running = Running(station, idle_minutes=0.03)
    running.worker.queue.client = Deaf()
    assert running.end() is Reason.IDLE
    assert "receive_failed" in station.lines


def test_worker_that_is_stuck_ends_with_blame(station: Station) -> None:
    [shard] = station.job(["tree", "hang-in-model"])
    context: WorkerContext = station.context(FakeTask(batch_size=1), item_timeout_s=0.3)
    running = Running(station, context=context)
    assert running.end() is Reason.STUCK
    row = station.row(shard)
    assert (row.state, row.started) == (ShardState.PENDING, 1)
    # and the journal tells the next process of this machine what of
    FakeTask.let_go.set()
    context.stream.close(5)


def test_duplicate_of_a_shard_in_work_waits(station: Station) -> None:
    [shard] = station.job(["hang-in-model"])
    running = Running(station)
    until(lambda: running.worker._held)
    station.send(shard)
    until(lambda: station.messages() == {"waiting": 0, "held": 2})
    FakeTask.let_go.set()
    running.finish(shard)
    assert station.row(shard).started == 1
    assert station.messages() == {"waiting": 0, "held": 1}, "the duplicate comes later and is dropped then"


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("hello", "message_not_understood"),
        ('{"version":1,"job":"j","number":0,"generation":1}', "shard_not_registered"),
    ],
)
def test_message_that_is_none_does_not_stop_the_worker(station: Station, body: str, logged: str) -> None:
    station.client("sqs").send_message(QueueUrl=station.queue_url, MessageBody=body)
    [shard] = station.job(["tree"])
    running = Running(station)
    running.finish(shard)
    assert logged in station.lines


def test_whatever_anybody_puts_into_its_queue_the_worker_goes_on(station: Station) -> None:
    for body in filter(None, HOSTILE.values()):
        station.client("sqs").send_message(QueueUrl=station.queue_url, MessageBody=body[:SQS_BYTES])
    [shard] = station.job(["tree"])
    running = Running(station)
    running.finish(shard)
    assert "message_not_understood" in station.lines
    assert "receive_failed" not in station.lines


def test_the_gpu_is_in_the_timings_of_shards_and_in_the_machines_row(station: Station) -> None:
    # given a machine with a GPU that is half busy
    reading = Reading(memory_bytes=7_000_000_000, memory_total_bytes=16_000_000_000, utilisation=0.5)
    context = replace(station.context(), gauge=Gauge(lambda: reading))
    station.ledger.put_machine(
        MachineRecord(
            machine="i-1",
            pipeline="segment",
            instance_type="g4dn.xlarge",
            zone="us-east-1a",
            market="spot",
            launched_at=1.0,
            run_started_at=1.0,
            price_usd_per_hour=0.5,
        )
    )
    # when it does a shard
    [shard] = station.job(["tree"] * 3)
    Running(station, context=context).finish(shard)
    # then
    seconds = station.row(shard).seconds
    assert seconds["gpu_busy"] == pytest.approx(seconds["gpu_observed"] / 2, abs=0.002)
    machine = station.ledger.machine("segment", "i-1")
    assert machine is not None
    assert (machine.gpu_memory_bytes, machine.gpu_memory_total_bytes) == (7_000_000_000, 16_000_000_000)
    assert machine.gpu_utilisation == 0.5
