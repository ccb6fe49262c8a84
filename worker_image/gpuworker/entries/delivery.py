"""Messages of the work queue: taken one at a time, held by extending their visibility, given back or deleted."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SQS_HOLDS_S = 12 * 3600.0
"""From the receive on, whatever is asked; SQS refuses to hold a message until later than that."""
LONGEST_HOLD_S = SQS_HOLDS_S - 3600.0
FIRST_HOLD_S = 30
"""Until the work begins. A receive that is under way when its worker is killed takes a message with it for so long."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message that this worker holds."""

    queue: WorkQueue
    body: str
    receipt: str
    receives: int
    """How often SQS has handed it out, this time included."""
    received_at: float
    """By the monotonic clock."""

    @property
    def is_last(self) -> bool:
        """If this fails, SQS moves the message to the dead-letter queue."""
        return self.receives >= self.queue.max_receives

    @property
    def is_too_old(self) -> bool:
        """SQS will soon hand it to somebody else, whatever this worker does."""
        return self.queue.clock() - self.received_at > LONGEST_HOLD_S

    def extend(self) -> None:
        """Hold it for another visibility timeout, or as long as SQS allows."""
        left_s = SQS_HOLDS_S - 60 - (self.queue.clock() - self.received_at)
        self.queue.set_visibility(self.receipt, max(0, min(self.queue.visibility_timeout_s, int(left_s))))

    def give_back(self, *, delay_s: int = 0) -> None:
        """Let somebody else have it."""
        self.queue.set_visibility(self.receipt, delay_s)
        self.queue.forget(self.receipt)

    def give_back_unblamed(self) -> None:
        """Let somebody else have it though this was its last receive: it did not fail, its machine goes away."""
        if self.is_last and self.queue.send_copy(self.body):
            self.delete()
        else:
            self.give_back()

    def delete(self) -> None:
        """It is done with."""
        self.queue.delete(self.receipt)
        self.queue.forget(self.receipt)

    def leave(self) -> None:
        """Do nothing more about it: it comes back when its visibility ends."""
        self.queue.forget(self.receipt)


@dataclass(kw_only=True)
class WorkQueue:
    """The pipeline's work queue. Receipts of what is held are kept in `folder`, for the time after a crash."""

    client: Any
    """boto3's for SQS."""
    url: str
    visibility_timeout_s: int
    max_receives: int
    folder: Path
    clock: Callable[[], float] = field(default=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def receive(self, *, wait_s: int) -> Delivery | None:
        """The next message, waiting so long for one."""
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=min(FIRST_HOLD_S, self.visibility_timeout_s),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return None
        message = messages[0]
        self._remember(message["ReceiptHandle"])
        return Delivery(
            queue=self,
            body=message["Body"],
            receipt=message["ReceiptHandle"],
            receives=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            received_at=self.clock(),
        )

    def give_back_left_behind(self) -> int:
        """Give back at once what a killed worker of this machine still held; how many messages those were."""
        left = list(self.folder.iterdir())
        for file in left:
            with contextlib.suppress(self.client.exceptions.ClientError):  # it has come back by itself, or is done
                self.set_visibility(file.read_text(), 0)
            file.unlink(missing_ok=True)
        return len(left)

    def set_visibility(self, receipt: str, seconds: int) -> None:
        self.client.change_message_visibility(QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    def delete(self, receipt: str) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)

    def send_copy(self, body: str) -> bool:
        """Send the message anew, with receives counted from 0; False where this machine's role does not allow it."""
        try:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)
        except self.client.exceptions.ClientError:
            return False
        return True

    def _remember(self, receipt: str) -> None:
        self._file(receipt).write_text(receipt)

    def forget(self, receipt: str) -> None:
        """It is not held any more."""
        self._file(receipt).unlink(missing_ok=True)

    def _file(self, receipt: str) -> Path:
        return self.folder / hashlib.sha256(receipt.encode()).hexdigest()[:32]
