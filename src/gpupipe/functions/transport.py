"""How shards get to whatever works on them: what every kind of pipeline has to say of its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from gpupipe.functions.whole import Whole
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord


class Delivery(Whole, ABC):
    """What may be expected of a shard once it is sent; pure."""

    @property
    @abstractmethod
    def begins_work(self) -> bool:
        """Is what is sent begun, so that it costs money, or expires?

        Then each row says whether it was sent, a job that is held is not, and what could not be sent is sent by the
        guard. Otherwise messages wait for the guard to start a machine.
        """

    @abstractmethod
    def patience_s(self, shard: ShardRecord) -> float:
        """Seconds without a sign of life after which nobody works on the shard."""

    @abstractmethod
    def is_lost(self, shard: ShardRecord, now: float) -> bool:
        """Is it certain that the shard is not on its way any more, whatever `Transport.count` says?"""


class Transport(Whole, ABC):
    """One way to send shards, with the clients that it takes."""

    @property
    @abstractmethod
    def delivery(self) -> Delivery:
        """What may be expected of what is sent."""

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> list[Message]:
        """Send them; those that were sent. Raises where that makes the rest fail."""

    @abstractmethod
    def count(self) -> int | None:
        """How many were sent and are not finished, approximately; None where nobody knows."""
