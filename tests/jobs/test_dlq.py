"""Dead letters shown, sent again, forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.jobs.crew import MACHINE, Crew
from tests.jobs.desk import PIPELINE, Desk, a_config, a_photo

from gpupipe.errors import NotDeployedError
from gpupipe.jobs import JobsContext, dlq
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.submit import submit
from gpuworker.contract import Message, manifest_key, shard_key
from gpuworker.ledger import JobState, ShardState

REASON = "a worker began it 4 times and none came back"


@pytest.fixture
def crew(desk: Desk) -> Crew:
    """With the queue for events that cannot be delivered."""
    stack = desk.ctx.aws.stack
    undelivered = stack.undelivered_queue(PIPELINE)
    desk.sqs.create_queue(QueueName=undelivered)
    policy = json.dumps({"deadLetterTargetArn": stack.arn("sqs", undelivered), "maxReceiveCount": "1"})
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    desk.sqs.set_queue_attributes(QueueUrl=desk.ctx.event_queue_url, Attributes=attributes)
    return Crew(desk=desk)


@pytest.fixture
def job(crew: Crew, tmp_path: Path) -> str:
    """Three shards of an image each, the last of them done; two messages in the work queue."""
    for name in ("a", "b", "c"):
        a_photo(tmp_path / f"{name}.jpg")
    job = submit(crew.desk.ctx, [str(tmp_path)], project="field7").job
    spread(crew.desk, job)
    announce_manifest(crew.desk.ctx, job)
    crew.dispatch()
    crew.commit(job, 2)
    return job


def spread(desk: Desk, job: str) -> None:
    """Cut the only shard of a submitted job into one an item."""
    (whole,) = desk.shards(job)
    for number, item in enumerate(whole.items):
        desk.put(shard_key(job, number), replace(whole, number=number, items=[item]).to_json().encode())
    manifest = replace(desk.manifest(job), shards={str(number): 1 for number in range(len(whole.items))})
    desk.put(manifest_key(job), manifest.to_json().encode())


def let_die(crew: Crew, job: str, *numbers: int) -> None:
    """Workers begin these shards and never come back; SQS moves all that was received to the dead-letter queue."""
    for number in numbers:
        assert crew.ledger.start_shard(job, number, 0, MACHINE)
        assert crew.ledger.mark_dead(job, number, 0, REASON)
    crew.ledger.finish_if_complete(job)
    undelivered(crew.desk, crew.desk.ctx.work_queue_url)


def undelivered(desk: Desk, url: str) -> None:
    """Receive everything of a queue and delete nothing, so that it all dies."""
    while desk.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        pass


def test_dead_shards_are_listed_with_what_the_ledger_knows_and_stay_where_they_are(crew: Crew, job: str) -> None:
    let_die(crew, job, 0, 1)
    letters = dlq.list_dead(crew.desk.ctx)
    of_shards = [
        (letter.kind, letter.job, letter.number, letter.items, letter.state, letter.reason) for letter in letters
    ]
    done = ("shard", job, 2, 0, ShardState.DONE, "")
    assert sorted(of_shards) == [("shard", job, number, 1, ShardState.DEAD, REASON) for number in (0, 1)] + [done]
    assert all(letter.has_message and letter.at for letter in letters)
    assert dlq.list_dead(crew.desk.ctx) == letters


def test_what_is_sent_again_is_worked_on_and_its_job_goes_on(crew: Crew, job: str) -> None:
    let_die(crew, job, 0, 1)
    assert (record := crew.ledger.job(job)) is not None
    assert record.state is JobState.FINISHED
    assert dlq.redrive(crew.desk.ctx) == 2
    # then workers find both shards, as if they had never been begun
    assert crew.sent() == [Message(job=job, number=number, generation=0) for number in (0, 1)]
    assert [record.job for record in crew.ledger.active_jobs(PIPELINE)] == [job]
    for number in (0, 1):
        crew.commit(job, number)
    totals = crew.totals(job)
    assert (totals.done, totals.dead, totals.shards_open) == (3, 0, 0)
    assert (record := crew.ledger.job(job)) is not None
    assert record.state is JobState.FINISHED
    assert dlq.list_dead(crew.desk.ctx) == []


def test_a_second_call_has_nothing_to_send(crew: Crew, job: str) -> None:
    let_die(crew, job, 0)
    assert dlq.redrive(crew.desk.ctx) == 2  # the dead one, and one whose message had died
    assert len(crew.sent()) == 2
    assert dlq.redrive(crew.desk.ctx) == 0
    assert crew.sent() == []


def test_a_dead_shard_without_a_message_is_listed_and_sent_again_too(crew: Crew, job: str) -> None:
    crew.sent()
    let_die(crew, job, 0)
    (letter,) = dlq.list_dead(crew.desk.ctx)
    assert (letter.number, letter.has_message, letter.reason) == (0, False, REASON)
    assert dlq.redrive(crew.desk.ctx) == 1
    assert crew.sent() == [Message(job=job, number=0, generation=0)]


def test_of_two_messages_of_a_shard_one_goes_back(crew: Crew, job: str) -> None:
    body = Message(job=job, number=0, generation=0).to_json()
    crew.desk.sqs.send_message(QueueUrl=crew.desk.ctx.work_queue_url, MessageBody=body)
    let_die(crew, job, 0, 1)
    assert len(dlq.list_dead(crew.desk.ctx)) == 4
    assert dlq.redrive(crew.desk.ctx) == 2
    assert [message.number for message in crew.sent()] == [0, 1]


def test_a_message_of_a_shard_that_is_still_open_goes_back_and_its_row_stays(crew: Crew, job: str) -> None:
    let_die(crew, job)
    before = crew.ledger.shard(job, 0)
    assert dlq.redrive(crew.desk.ctx) == 2
    assert [message.number for message in crew.sent()] == [0, 1]  # and not the third, which is done
    assert crew.ledger.shard(job, 0) == before


def test_shards_of_a_cancelled_job_stay_dead(crew: Crew, job: str) -> None:
    crew.sent()
    assert crew.ledger.mark_dead(job, 0, 0, REASON)
    crew.ledger.cancel_job(job, "by a person")
    assert dlq.redrive(crew.desk.ctx) == 0
    assert (row := crew.ledger.shard(job, 0)) is not None
    assert row.state is ShardState.DEAD
    assert crew.sent() == []


def test_an_asynchronous_endpoint_has_its_dead_shards_in_the_ledger_alone(crew: Crew, job: str) -> None:
    # given a pipeline without a work queue, and a shard that was given up
    config = a_config(crew.desk.ctx.aws.stack, kind="endpoint")
    ctx = JobsContext.of(crew.desk.ctx.aws, config)
    for url in (ctx.work_queue_url, ctx.dead_letter_queue_url):
        crew.desk.sqs.delete_queue(QueueUrl=url)
    assert crew.ledger.mark_dead(job, 0, 0, REASON)
    (letter,) = dlq.list_dead(ctx)
    assert (letter.number, letter.has_message, letter.reason) == (0, False, REASON)
    # when it is sent again, it says that nobody has sent it, for the guard to do so
    assert dlq.redrive(ctx) == 1
    assert (row := crew.ledger.shard(job, 0)) is not None
    assert (row.state, row.sent_at, row.started) == (ShardState.PENDING, 0.0, 0)
    assert (dlq.list_dead(ctx), dlq.redrive(ctx), dlq.purge(ctx)) == ([], 0, 0)


def test_events_that_dispatch_failed_on_are_listed_and_sent_again(crew: Crew) -> None:
    announce_manifest(crew.desk.ctx, "20261121-113052-field7-1f3a")
    undelivered(crew.desk, crew.desk.ctx.event_queue_url)
    (letter,) = dlq.list_dead(crew.desk.ctx)
    assert letter.kind == "event"
    assert "20261121-113052-field7-1f3a" in letter.about
    assert dlq.redrive(crew.desk.ctx) == 1
    (event,) = crew.desk.received(crew.desk.ctx.event_queue_url)
    assert event["gpupipe"] == "manifest"


def test_messages_that_nobody_understands_are_shown(crew: Crew) -> None:
    crew.desk.sqs.send_message(QueueUrl=crew.desk.ctx.dead_letter_queue_url, MessageBody="hello " * 40)
    body = Message(job="gone", number=3, generation=0).to_json()
    crew.desk.sqs.send_message(QueueUrl=crew.desk.ctx.dead_letter_queue_url, MessageBody=body)
    stranger, orphan = sorted(dlq.list_dead(crew.desk.ctx), key=lambda letter: letter.kind, reverse=True)
    assert (stranger.kind, len(stranger.about)) == ("unknown", 80)
    assert (orphan.job, orphan.state, orphan.reason) == ("gone", "", "the ledger does not know this shard")


def test_purged_messages_are_gone_and_the_ledger_remembers(crew: Crew, job: str) -> None:
    let_die(crew, job, 0, 1)
    announce_manifest(crew.desk.ctx, "j")
    undelivered(crew.desk, crew.desk.ctx.event_queue_url)
    assert dlq.purge(crew.desk.ctx) == 4
    letters = dlq.list_dead(crew.desk.ctx)
    assert {(letter.number, letter.has_message) for letter in letters} == {(0, False), (1, False)}
    assert dlq.purge(crew.desk.ctx) == 0


def test_many_messages_are_each_listed_once(crew: Crew) -> None:
    for number in range(23):
        crew.desk.sqs.send_message(QueueUrl=crew.desk.ctx.dead_letter_queue_url, MessageBody=f"message {number}")
    assert len({letter.about for letter in dlq.list_dead(crew.desk.ctx)}) == 23
    assert len(dlq.list_dead(crew.desk.ctx, limit=5)) == 5


def test_without_queues_it_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(NotDeployedError, match="gpupipe up"):
        dlq.list_dead(desk.ctx)
