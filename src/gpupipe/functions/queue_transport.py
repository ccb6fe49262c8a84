"""The SQS queue that shards wait in for workers: a message a shard."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gpupipe.functions.context import Clients
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.transport import Delivery, Transport
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord
from gpuworker.ledger.table import chunks

BATCH_MAX = 10
SENDERS = 8
ATTEMPTS = 6
COUNTED = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]
SIGN_MARGIN_S = 30.0
"""Beyond the visibility timeout before a shard counts as without progress: clocks differ, counts lag."""


def messages_in(sqs: Any, url: str) -> int:
    """Messages of a queue: visible, in flight or delayed; approximate."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTED)
    return sum(int(answer["Attributes"][name]) for name in COUNTED)


class SendError(Exception):
    """SQS did not take some messages, though asked several times."""


@dataclass(frozen=True, kw_only=True)
class QueuedSettings(FunctionSettings):
    """What a kind has whose shards wait in a work queue."""

    work_queue_url: str
    visibility_timeout_s: int = 600


@dataclass(frozen=True, kw_only=True)
class QueueDelivery(Delivery):
    """A message that nobody deletes is visible again."""

    begins_work = False
    visibility_timeout_s: int

    def patience_s(self, shard: ShardRecord) -> float:
        return self.visibility_timeout_s + SIGN_MARGIN_S

    def is_lost(self, shard: ShardRecord, now: float) -> bool:
        return False


class QueueTransport(Transport):
    """Sends messages."""

    def __init__(self, settings: QueuedSettings, client: Clients) -> None:
        self._url = settings.work_queue_url
        self._delivery = QueueDelivery(visibility_timeout_s=settings.visibility_timeout_s)
        self._client = client

    @property
    def delivery(self) -> QueueDelivery:
        return self._delivery

    def send(self, messages: Sequence[Message]) -> list[Message]:
        """Send them all. Raises SendError; those that were sent before are sent, which does no harm."""
        batches = list(chunks(messages, BATCH_MAX))
        if len(batches) <= 1:
            return [message for batch in batches for message in self._send_batch(batch)]
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="send") as pool:
            return [message for sent in pool.map(self._send_batch, batches) for message in sent]

    def count(self) -> int:
        """In the work queue, approximately."""
        return messages_in(self._sqs, self._url)

    def _send_batch(self, messages: Sequence[Message]) -> Sequence[Message]:
        entries = [{"Id": str(index), "MessageBody": message.to_json()} for index, message in enumerate(messages)]
        for attempt in range(ATTEMPTS):
            answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
            failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
            if not failed:
                return messages
            entries = [entry for entry in entries if entry["Id"] in failed]
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        codes = sorted({failure["Code"] for failure in failed.values()})
        raise SendError(f"SQS did not take {len(entries)} of {len(messages)} messages: {', '.join(codes)}")

    @property
    def _sqs(self) -> Any:
        return self._client("sqs")
