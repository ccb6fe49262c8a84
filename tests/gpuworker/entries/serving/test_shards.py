import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.gpuworker.entries.serving.container import Reply
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.contract import Shard
from gpuworker.entries.serving.shards import ShardWork, Stop
from gpuworker.ledger import ShardState
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.storage.objects import Storage


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def work_on(shard: Shard, context: WorkerContext, *, clock: Callable[[], float] = time.monotonic) -> ShardWork:
    return ShardWork(shard, context, timeout_s=100, clock=clock)


def replied(work: ShardWork) -> Reply:
    answer = work.run()
    return Reply(status=answer.status, body=answer.body)


class Running:
    """A shard in a thread of its own."""

    def __init__(self, work: ShardWork) -> None:
        self.work = work
        self._replies: list[Reply] = []
        self._thread = threading.Thread(target=lambda: self._replies.append(replied(work)), daemon=True)
        self._thread.start()

    def beat(self) -> bool:
        """One of the container's heartbeats; whether the shard has ended."""
        self.work.keep_alive()
        return not self._thread.is_alive()

    def reply(self) -> Reply:
        self._thread.join(20)
        return self._replies[0]


def test_shard_is_done_and_says_how_many(station: Station) -> None:
    [shard] = station.job(["tree", "bad", "house"], send=False)
    reply = replied(work_on(shard, station.context()))
    assert (reply.status, reply.json["status"], reply.json["done"], reply.json["failed"]) == (200, "done", 2, 1)
    assert station.row(shard).state is ShardState.DONE


def test_result_tells_variant_and_machine(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    replied(work_on(shard, replace(station.context(machine="b/one"), variant="b")))
    commit = station.commit(shard)
    assert commit is not None
    assert (commit.machine, commit.engine["variant"], station.row(shard).machine) == ("b/one", "b", "b/one")


def test_shard_that_is_done_already_is_over(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    task = FakeTask()
    context = station.context(task)
    replied(work_on(shard, context))
    reply = replied(work_on(shard, context))
    assert (reply.status, reply.json["status"], reply.json["done"]) == (200, "over", 1)
    assert len(task.batches) == 1


def test_shard_of_a_living_machine_is_left_to_it(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "main/other")
    reply = replied(work_on(shard, station.context()))
    assert (reply.status, reply.json["status"]) == (200, "elsewhere")
    assert station.row(shard).machine == "main/other"


def test_shard_that_was_sent_again_since_is_over(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    station.job(["tree"], job=shard.job, generation=1, send=False)
    assert replied(work_on(shard, station.context())).json["status"] == "over"


def test_shard_that_came_before_its_row_is_asked_for_again(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    early = replace(shard, generation=1)
    reply = replied(work_on(early, station.context()))
    assert (reply.status, reply.code) == (503, "starting")
    assert reply.json["error"]["generation"] == 1


def test_cancelled_job_is_stopped(station: Station) -> None:
    [shard] = station.job(["hang-in-model"], send=False)
    running = Running(work_on(shard, station.context()))
    until(lambda: station.row(shard).state is ShardState.RUNNING)
    station.ledger.cancel_shards(shard.job)
    until(running.beat)
    assert running.reply().json["status"] == "over"
    assert station.commit(shard) is None


def test_heartbeat_tells_of_progress(station: Station) -> None:
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)
    running = Running(work_on(shard, station.context()))

    def progress() -> int:
        running.work.keep_alive()
        return station.row(shard).progress

    until(progress)
    running.work.stop(Stop.DRAINING)
    assert running.reply().status == 503


def test_after_most_of_its_time_it_is_given_back_and_goes_on_where_it_stopped(station: Station) -> None:
    # given a shard whose time is over when some of it is finished
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)
    task, clock = FakeTask(), Clock()
    context = station.context(task)
    running = Running(work_on(shard, context, clock=clock))
    overdue = []
    for clock.now in (79, 81):
        overdue.append(running.work.is_overdue)
    assert overdue == [False, True]
    until(lambda: _with_progress(running, station, shard))
    # when
    running.work.stop(Stop.TIME_IS_UP)
    reply = running.reply()
    # then it is nobody's fault
    assert (reply.status, reply.code) == (503, "time_is_up")
    assert reply.json["error"]["finished"] > 0
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, 0)
    # and when it is sent again, what is finished is not done again
    FakeTask.let_go.set()
    before = len([name for batch in task.batches for name in batch])
    assert replied(work_on(shard, context)).json["done"] == 8
    again = len([name for batch in task.batches for name in batch]) - before
    assert again <= 8 - reply.json["error"]["finished"]


def _with_progress(running: Running, station: Station, shard: Shard) -> int:
    running.work.keep_alive()
    return station.row(shard).progress


@pytest.mark.parametrize(("reason", "started"), [(Stop.TIME_IS_UP, 1), (Stop.DISCONNECTED, 1), (Stop.DRAINING, 0)])
def test_shard_that_got_nowhere_is_blamed_unless_the_machine_goes(station: Station, reason: Stop, started: int) -> None:
    [shard] = station.job(["hang"], send=False)
    running = Running(work_on(shard, station.context()))
    until(lambda: station.row(shard).state is ShardState.RUNNING)
    running.work.stop(reason)
    assert running.reply().code == reason
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, started)


def test_shard_stopped_before_it_began_is_not_started(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    work = work_on(shard, station.context())
    work.stop(Stop.DRAINING)
    assert replied(work).code == "draining"
    assert station.row(shard).started_at is None


def test_trouble_with_the_bucket_is_no_blame(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    nobody = "http://127.0.0.1:9"
    storage = Storage(station.name, region="us-east-1", session=station.session, endpoint=nobody, retry_for_s=0.1)
    context = station.context(storage=storage)
    reply = replied(work_on(shard, context))
    assert (reply.status, reply.code) == (500, "failed")
    assert "StorageError" in reply.message
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, 0)
    assert station.commit(shard) is None


def test_shard_that_killed_a_container_before_runs_its_items_alone(station: Station) -> None:
    [shard] = station.job(["tree", "crash", "house"], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "main/dead")
    row = station.row(shard)
    assert station.ledger.requeue_shard(row)
    reply = replied(work_on(shard, station.context()))
    assert (reply.json["status"], reply.json["done"], reply.json["failed"]) == ("done", 2, 1)
    commit = station.commit(shard)
    assert commit is not None
    assert [failure.code for failure in commit.failures] == ["killed_worker"]
