"""Dead letters: what no worker and no dispatch could make use of, shown, sent again, or forgotten.

Two queues hold them: shards that were tried too often, and S3's events that dispatch failed on. The ledger knows more
than the queues: a shard that the guard gave up may have no message left. So `redrive` begins with the ledger: every
dead shard is PENDING again in its own generation (nothing of that was committed, and items that were finished are
taken over), then its message goes back to the work queue. `retry` is the other way: a new generation of single items.

An asynchronous endpoint has no work queue of its own: its dead shards are in the ledger alone, and once they are
PENDING and not sent, the guard sends them at its next look.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gpupipe.aws import together
from gpupipe.errors import JobError, NotDeployedError
from gpupipe.explain import explained
from gpupipe.functions.queue_transport import messages_in
from gpupipe.jobs import JobsContext
from gpupipe.jobs.dead_letters import DeadLetter, of_event, of_message, of_row, place_of
from gpuworker.contract import Message
from gpuworker.ledger import JobRecord, ShardRecord, ShardState
from gpuworker.ledger.table import chunks

__all__ = ["DeadLetter", "list_dead", "purge", "redrive"]

LIMIT = 2_000
"""Messages of a queue that are looked at."""
KEPT_S = 14 * 86_400.0
"""As long as SQS keeps messages, jobs are searched for dead shards."""
PEEK_S = 60
"""So long a message that is looked at stays hidden, should this process be killed before it lets go of it."""
BATCH = 10


def list_dead(ctx: JobsContext, *, limit: int = LIMIT) -> list[DeadLetter]:
    """Oldest first. Nothing is consumed: messages are hidden while they are looked at, and let go of again.

    At most `limit` messages of each queue. Raises AwsError, NotDeployedError.
    """
    return sorted(_look(ctx, limit).letters, key=lambda letter: (letter.at, letter.job, letter.number))


def redrive(ctx: JobsContext) -> int:
    """Send everything again; how many shards and events. Killed half-way, the guard finds the shards that are open
    and have no message, and the same call does the rest. Raises AwsError, NotDeployedError."""
    found = _look(ctx, LIMIT)
    sent = ctx.has_work_queue  # else the guard sends what says that nobody has
    with ctx.at_ledger():
        revived = [shard for shard in found.dead if ctx.ledger.revive_shard(*shard.place, sent=sent)]
    if not ctx.has_work_queue:
        if found.events:
            _move_back(ctx, ctx.undelivered_queue_url)
        return len(revived) + len(found.events)
    surplus = list(_surplus(found))
    _forget(ctx, ctx.dead_letter_queue_url, surplus)
    if len(found.work) > len(surplus):
        _move_back(ctx, ctx.dead_letter_queue_url)
    if found.events:
        _move_back(ctx, ctx.undelivered_queue_url)
    moved = {place_of(message) for message in found.work}
    unsent = [shard for shard in revived if shard.place not in moved]
    if len(found.work) < LIMIT:  # else some may have one that was not seen; the guard counts, and sends what is missing
        _send(ctx, unsent)
    still_open = {(row.job, row.number) for row in found.rows.values() if row.is_open}
    return len(revived) + len(still_open) + len(found.events)


def purge(ctx: JobsContext) -> int:
    """Forget all messages of the queues; about how many there were. Shards that the ledger calls dead stay so, and
    their items are failures of their job. Raises JobError within a minute of the last purge, AwsError."""
    dead = [ctx.dead_letter_queue_url] if ctx.has_work_queue else []
    return sum(_purge(ctx, url) for url in (*dead, ctx.undelivered_queue_url))


# --- looking ---


@dataclass(frozen=True, kw_only=True)
class _Look:
    work: Sequence[Mapping[str, Any]]
    """Messages of the dead-letter queue, where there is one, …"""
    events: Sequence[Mapping[str, Any]]
    """… and of the one for events."""
    rows: Mapping[tuple[str, int], ShardRecord]
    """The shards that messages name, by job and number."""
    dead: Sequence[ShardRecord]
    letters: Sequence[DeadLetter]


def _look(ctx: JobsContext, limit: int) -> _Look:
    work, events, dead = together(
        partial(_peek, ctx, ctx.dead_letter_queue_url, limit) if ctx.has_work_queue else list,
        partial(_peek, ctx, ctx.undelivered_queue_url, limit),
        partial(_dead_shards, ctx),
    )
    places = {place for message in work if (place := place_of(message))}
    with ctx.at_ledger():
        rows = ctx.ledger.some_shards((job, number) for job, number, _ in places)
    letters = [of_message(message, rows) for message in work]
    letters += [of_event(message, bucket=ctx.bucket) for message in events]
    letters += [of_row(shard) for shard in dead if shard.place not in places]
    return _Look(work=work, events=events, rows=rows, dead=dead, letters=letters)


def _peek(ctx: JobsContext, url: str, limit: int) -> list[Mapping[str, Any]]:
    """Messages of a queue, each once, left as they were."""
    sqs, name = ctx.aws.client("sqs"), url.rpartition("/")[2]
    seen: dict[str, Mapping[str, Any]] = {}
    with explained(f"look into queue {name}"):
        try:
            while len(seen) < limit and (batch := _received(sqs, url)):
                seen.update({message["MessageId"]: message for message in batch})
        except sqs.exceptions.QueueDoesNotExist as error:
            raise NotDeployedError(f"queue {name} is not there.", hint="Run `gpupipe up` first.") from error
        finally:
            for some in chunks(seen.values(), BATCH):
                entries = [
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                    for n, message in enumerate(some)
                ]
                sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    return list(seen.values())[:limit]


def _received(sqs: Any, url: str) -> Sequence[Mapping[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=BATCH,
        VisibilityTimeout=PEEK_S,
        WaitTimeSeconds=1,  # without it SQS asks only some of its servers
        MessageSystemAttributeNames=["SentTimestamp"],
    )
    messages: Sequence[Mapping[str, Any]] = answer.get("Messages", ())
    return messages


def _dead_shards(ctx: JobsContext) -> list[ShardRecord]:
    """What the ledger calls dead, of recent jobs."""
    since = time.time() - KEPT_S
    with ctx.at_ledger():
        recent: dict[str, JobRecord] = {record.job: record for record in ctx.ledger.active_jobs(ctx.pipeline)}
        for record in ctx.ledger.jobs(pipeline=ctx.pipeline):
            if record.created_at < since:
                break
            recent[record.job] = record
        found = together(*(partial(_dead_of, ctx, job) for job in recent))
    return [shard for shards in found for shard in shards]


def _dead_of(ctx: JobsContext, job: str) -> list[ShardRecord]:
    return [shard for shard in ctx.ledger.shards(job) if shard.state is ShardState.DEAD]


# --- acting ---


def _surplus(found: _Look) -> Iterator[Mapping[str, Any]]:
    """Messages of shards that need none any more, and second messages of the same: two workers would take them."""
    kept = set()
    for message in found.work:
        place = place_of(message)
        row = found.rows.get(place[:2]) if place else None
        is_over = row is not None and row.state in (ShardState.DONE, ShardState.CANCELLED)
        is_old = row is not None and place is not None and row.generation > place[2]
        if place is not None and (place in kept or is_over or is_old):
            yield message
        kept.add(place)


def _forget(ctx: JobsContext, url: str, messages: Sequence[Mapping[str, Any]]) -> None:
    with explained(f"delete from queue {url.rpartition('/')[2]}"):
        for some in chunks(messages, BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(some)]
            ctx.aws.client("sqs").delete_message_batch(QueueUrl=url, Entries=entries)


def _move_back(ctx: JobsContext, url: str) -> None:
    """Have SQS move a queue's messages back to where they came from; it goes on after this process."""
    name = url.rpartition("/")[2]
    with explained(f"move the messages of queue {name} back"):
        ctx.aws.client("sqs").start_message_move_task(SourceArn=ctx.aws.stack.arn("sqs", name))


def _send(ctx: JobsContext, shards: Sequence[ShardRecord]) -> None:
    queue = ctx.aws.stack.work_queue(ctx.pipeline)
    for some in chunks(shards, BATCH):
        bodies = [Message.of(one.place).to_json() for one in some]
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
        with explained(f"send to queue {queue}"):
            # One that SQS does not take is missing in the queue, which the guard notices.
            ctx.aws.client("sqs").send_message_batch(QueueUrl=ctx.work_queue_url, Entries=entries)


def _purge(ctx: JobsContext, url: str) -> int:
    sqs, name = ctx.aws.client("sqs"), url.rpartition("/")[2]
    with explained(f"purge queue {name}"):
        count = messages_in(sqs, url)
        if count:
            try:
                sqs.purge_queue(QueueUrl=url)
            except sqs.exceptions.PurgeQueueInProgress as error:
                raise JobError(f"queue {name} was purged less than a minute ago.", hint="Wait a minute.") from error
    return count
