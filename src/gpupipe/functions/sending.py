"""Shards on their way to whatever works on them; for kind `queue`, a message a shard."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gpupipe.functions.surroundings import Surroundings
from gpuworker.contract import Message
from gpuworker.ledger.table import chunks

BATCH_MAX = 10
SENDERS = 8
ATTEMPTS = 6


class SendError(Exception):
    """SQS did not take some messages, though asked several times."""


def send(around: Surroundings, messages: Iterable[Message]) -> int:
    """Send them all; how many. Raises SendError; those that were sent before are sent, which does no harm."""
    batches = list(chunks(messages, BATCH_MAX))
    if len(batches) <= 1:
        return sum(_send_batch(around, batch) for batch in batches)
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="send") as pool:
        return sum(pool.map(lambda batch: _send_batch(around, batch), batches))


def _send_batch(around: Surroundings, messages: Sequence[Message]) -> int:
    entries = [{"Id": str(index), "MessageBody": message.to_json()} for index, message in enumerate(messages)]
    for attempt in range(ATTEMPTS):
        answer = around.sqs.send_message_batch(QueueUrl=around.settings.work_queue_url, Entries=entries)
        failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
        if not failed:
            return len(messages)
        entries = [entry for entry in entries if entry["Id"] in failed]
        time.sleep(random.uniform(0, 0.05 * 2**attempt))
    codes = sorted({failure["Code"] for failure in failed.values()})
    raise SendError(f"SQS did not take {len(entries)} of {len(messages)} messages: {', '.join(codes)}")
