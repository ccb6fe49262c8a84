import contextlib
import json
import threading
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.contract import Message, Shard, ShardResult, shard_key
from gpuworker.entries.message_handler import GIVE_BACK_PAUSES_S, MessageHandler, give_up_foreign
from gpuworker.ledger import JobState, Ledger, ShardState
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.storage.objects import Storage


def handler(station: Station, context: WorkerContext | None = None, *, task: str = "fake") -> MessageHandler:
    """The next message of the queue, in the hands of a worker."""
    delivery = until(lambda: station.queue().receive(wait_s=1))
    return MessageHandler(Message.from_json(delivery.body), delivery, context or station.context(), task=task)


def state(station: Station, shard: Shard) -> tuple[str, str]:
    """State of the shard's row and of its job."""
    job = station.ledger.job(shard.job)
    assert job is not None
    return station.row(shard).state, job.state


def running(one: MessageHandler) -> threading.Thread:
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    return thread


def without_bucket(station: Station) -> WorkerContext:
    """A worker whose bucket does not answer."""
    context = station.context()
    dead = Storage("nowhere", region="us-east-1", session=station.session, endpoint="http://127.0.0.1:9", retry_for_s=0)
    return type(context)(**{**vars(context), "storage": dead})


def test_shard_is_done_and_its_message_gone(station: Station) -> None:
    [shard] = station.job(["tree", "bad"])
    result = handler(station).run()
    assert result == station.commit(shard)
    assert state(station, shard) == (ShardState.DONE, JobState.FINISHED)
    assert station.messages() == {"waiting": 0, "held": 0}


def test_message_of_a_finished_shard_is_dropped(station: Station) -> None:
    [shard] = station.job(["tree"])
    handler(station).run()
    station.send(shard)
    assert handler(station).run() is None
    assert station.row(shard).started == 1
    assert station.messages() == {"waiting": 0, "held": 0}


def test_message_of_a_cancelled_job_is_dropped(station: Station) -> None:
    [shard] = station.job(["tree"])
    station.ledger.cancel_job(shard.job, "by a person")
    assert handler(station).run() is None
    assert station.commit(shard) is None
    assert station.messages() == {"waiting": 0, "held": 0}


def test_message_of_an_older_generation_is_dropped(station: Station) -> None:
    [old] = station.job(["tree"])
    station.job(["tree"], send=False, job=old.job, generation=1)
    assert handler(station).run() is None
    assert station.messages() == {"waiting": 0, "held": 0}


def test_second_copy_of_a_message_is_kept_beside_the_living_worker(station: Station) -> None:
    [shard] = station.job(["tree"])
    assert station.ledger.start_shard(shard.job, shard.number, shard.generation, "i-other") is not None
    assert handler(station).run() is None
    assert (station.row(shard).machine, station.row(shard).started) == ("i-other", 1)
    assert sum(station.messages().values()) == 1


def test_message_that_came_before_its_row_comes_again(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    unregistered = Shard(**{**vars(shard), "generation": 5})
    station.send(unregistered)
    assert handler(station).run() is None
    assert station.messages()["held"] == 1, "with a delay"
    assert "shard_not_registered" in station.lines


def test_shard_without_its_document_is_dead_and_the_job_ends(station: Station) -> None:
    [shard] = station.job(["tree"])
    station.client("s3").delete_object(Bucket=station.name, Key=shard_key(shard.job, 0))
    assert handler(station).run() is None
    assert state(station, shard) == (ShardState.DEAD, JobState.FINISHED)
    assert "is missing" in station.row(shard).reason
    assert station.messages() == {"waiting": 0, "held": 0}


def test_shard_of_a_newer_contract_is_dead_with_the_reason(station: Station) -> None:
    [shard] = station.job(["tree"])
    newer = json.loads(shard.to_json()) | {"version": 99}
    station.storage.put(shard_key(shard.job, 0), json.dumps(newer).encode())
    handler(station).run()
    assert station.row(shard).state is ShardState.DEAD
    assert "version 99" in station.row(shard).reason


def test_shard_of_another_task_is_dead_with_the_reason(station: Station) -> None:
    [shard] = station.job(["tree"])
    handler(station, task="segment").run()
    assert station.row(shard).state is ShardState.DEAD
    assert "task fake" in station.row(shard).reason


def test_document_of_another_shard_is_not_worked_on(station: Station) -> None:
    first, second = station.job(["tree", "house"], shard_items=1, send=False)
    station.storage.put(shard_key(first.job, 0), second.to_json().encode())
    station.send(first)
    handler(station).run()
    assert "another shard" in station.row(first).reason


def test_failure_of_the_surroundings_is_tried_again_without_blame(station: Station) -> None:
    [shard] = station.job(["tree"])
    assert handler(station, without_bucket(station)).run() is None
    row = station.row(shard)
    assert (row.state, row.started) == (ShardState.PENDING, 0)
    assert station.messages() == {"waiting": 0, "held": 1}, "it comes again after a pause"
    assert "shard_failed" in station.lines


def test_what_cannot_be_given_back_is_given_back_once_somebody_answers(station: Station) -> None:
    # given a worker whose bucket, ledger and queue are all away, as its emulator is started again
    [shard] = station.job(["tree"])
    delivery, pauses = until(lambda: station.queue().receive(wait_s=1)), list[float]()
    queue = delivery.queue
    answering, queue.client = queue.client, Silent()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        queue.client = answering if len(pauses) == 3 else queue.client

    message = Message.from_json(delivery.body)
    one = MessageHandler(message, delivery, without_bucket(station), task="fake", sleep=sleep)
    # when its work fails
    assert one.run() is None
    # then the message comes again after the pause of any failure, not after a whole timeout
    assert pauses == list(GIVE_BACK_PAUSES_S[:3])
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, 0)
    assert list(queue.folder.iterdir()) == []


class Silent:
    """A queue that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


def test_failure_on_the_last_receive_ends_the_wait(station: Station) -> None:
    [shard] = station.job(["tree"])
    for _ in range(station.max_receives - 1):
        until(lambda: station.queue().receive(wait_s=1)).give_back()
    handler(station, without_bucket(station)).run()
    assert state(station, shard) == (ShardState.DEAD, JobState.FINISHED)
    assert "failed 3 times" in station.row(shard).reason
    assert station.messages()["waiting"] == 1, "SQS moves it to the dead-letter queue at the next receive"


class Uncounting(Ledger):
    """A ledger that cannot be told of commits."""

    def count_result(self, result: ShardResult) -> bool:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "TransactWriteItems")


def test_what_is_committed_is_not_called_dead_on_the_last_receive(station: Station) -> None:
    # given a shard on its last receive, all of which is written but the ledger's row
    [shard] = station.job(["tree"])
    for _ in range(station.max_receives - 1):
        until(lambda: station.queue().receive(wait_s=1)).give_back()
    context = station.context()
    uncounting = Uncounting(station.client("dynamodb"), station.name)
    assert handler(station, type(context)(**{**vars(context), "ledger": uncounting})).run() is None
    # then its result stands, and it is left for the guard to count
    assert station.commit(shard) is not None
    assert state(station, shard)[0] is ShardState.PENDING
    assert (station.row(shard).reason, station.row(shard).started) == ("", 0)


def test_shard_cancelled_in_the_middle_stops(station: Station) -> None:
    # given a shard in work
    [shard] = station.job(["tree"] * 6, halts_after=3)
    one = handler(station, station.context(FakeTask(batch_size=1)))
    thread = running(one)
    until(lambda: one._shard_run and one._shard_run.progress > 2)
    assert station.commit(shard) is None
    # when a person cancels the job and the worker's heart beats
    station.ledger.cancel_job(shard.job, "by a person")
    one.keep_alive()
    thread.join(10)
    # then it is not worked on any more, and nothing is committed
    assert not thread.is_alive()
    assert station.commit(shard) is None
    assert station.row(shard).state is ShardState.CANCELLED
    assert station.messages() == {"waiting": 0, "held": 0}


def test_shard_that_another_machine_took_over_is_left_to_it(station: Station) -> None:
    [shard] = station.job(["tree"] * 6, halts_after=3)
    one = handler(station, station.context(FakeTask(batch_size=1)))
    thread = running(one)
    until(lambda: one._shard_run and one._shard_run.progress > 2)
    station.ledger.start_shard(shard.job, 0, 0, "i-other")
    one.keep_alive()
    thread.join(10)
    assert not thread.is_alive()
    row = station.row(shard)
    assert (row.state, row.machine, row.started) == (ShardState.RUNNING, "i-other", 2)
    assert station.messages() == {"waiting": 0, "held": 1}, "the message may be the other's"


def test_given_back_shard_goes_on_elsewhere_where_it_stopped(station: Station, tmp_path: Any) -> None:
    # given a shard in the middle of which the machine has to go
    diary = tmp_path / "diary"
    [shard] = station.job(["tree"] * 12, diary=str(diary), halts_after=6)
    context = station.context(FakeTask(batch_size=1))
    one = handler(station, context)
    thread = running(one)
    until(lambda: one._shard_run and one._shard_run.progress > 5)
    one.give_back("spot")
    thread.join(10)
    FakeTask.let_go.set()
    context.stream.close(10)
    row = station.row(shard)
    assert (row.state, row.started) == (ShardState.PENDING, 0), "nobody is to blame"
    first = len(diary.read_text().splitlines())
    # when the next machine takes it
    result = handler(station, station.context(machine="i-2")).run()
    # then it does only the rest, in its own process
    assert result is not None
    assert len(result.items) == 12
    assert len(diary.read_text().splitlines()) - first < 12
    assert "suspects_run_alone" not in station.lines


def test_heartbeat_tells_progress_and_extends(station: Station) -> None:
    station.visibility_timeout_s = 1
    [shard] = station.job(["tree"] * 10, sleep_s=0.2)
    one = handler(station, station.context(FakeTask(batch_size=1)))
    one.keep_alive()
    thread = running(one)
    until(lambda: (one.keep_alive(), station.row(shard).progress > 3)[1])
    assert station.row(shard).state is ShardState.RUNNING
    with contextlib.suppress(ClientError):  # at the end the message is gone
        until(lambda: (one.keep_alive(), not thread.is_alive())[1])
    thread.join(10)
    assert station.row(shard).state is ShardState.DONE
    assert station.messages() == {"waiting": 0, "held": 0}, "nobody else got it meanwhile"


def test_foreign_message_goes_back_and_names_its_shard_dead(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    newer = {"version": 99, "job": shard.job, "number": 0, "generation": 0}
    context = station.context()
    for body in ("hello", "[1]", json.dumps(newer)):
        station.client("sqs").send_message(QueueUrl=station.queue_url, MessageBody=body)
        give_up_foreign(context, until(lambda: station.queue().receive(wait_s=1)), "not understood")
    assert station.messages() == {"waiting": 0, "held": 3}, "they come again, until SQS moves them away"
    assert station.row(shard).state is ShardState.DEAD
