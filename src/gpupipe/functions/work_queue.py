"""The SQS queue that shards wait in for workers: a message a shard."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpupipe.functions.surroundings import Surroundings
from gpuworker.contract import Message
from gpuworker.ledger.table import chunks

BATCH_MAX = 10
SENDERS = 8
ATTEMPTS = 6
COUNTED = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]


class SendError(Exception):
    """SQS did not take some messages, though asked several times."""


def send_messages(around: Surroundings, messages: Sequence[Message]) -> list[Message]:
    """Send them all. Raises SendError; those that were sent before are sent, which does no harm."""
    batches = list(chunks(messages, BATCH_MAX))
    if len(batches) <= 1:
        return [message for batch in batches for message in _send_batch(around, batch)]
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="send") as pool:
        return [message for sent in pool.map(lambda batch: _send_batch(around, batch), batches) for message in sent]


def count_messages(around: Surroundings) -> int:
    """In the work queue, approximately."""
    return messages_in(around.sqs, around.settings.work_queue_url)


def messages_in(sqs: Any, url: str) -> int:
    """Messages of a queue: visible, in flight or delayed; approximate."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTED)
    return sum(int(answer["Attributes"][name]) for name in COUNTED)


def _send_batch(around: Surroundings, messages: Sequence[Message]) -> Sequence[Message]:
    entries = [{"Id": str(index), "MessageBody": message.to_json()} for index, message in enumerate(messages)]
    for attempt in range(ATTEMPTS):
        answer = around.sqs.send_message_batch(QueueUrl=around.settings.work_queue_url, Entries=entries)
        failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
        if not failed:
            return messages
        entries = [entry for entry in entries if entry["Id"] in failed]
        time.sleep(random.uniform(0, 0.05 * 2**attempt))
    codes = sorted({failure["Code"] for failure in failed.values()})
    raise SendError(f"SQS did not take {len(entries)} of {len(messages)} messages: {', '.join(codes)}")
