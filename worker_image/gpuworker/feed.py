"""The items of one shard on their way through the stream, and the outcomes that gather."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from gpuworker.budget import Reservation
from gpuworker.contract import Failure, Item, ItemResult, Shard
from gpuworker.journal import ShardId
from gpuworker.tasks import Decoded, Encoded, Source

Outcome = ItemResult | Failure


class Feed:
    """One shard in work: what is done, what waits, and whether anybody still wants it.

    The runner fills and awaits it, the stream settles its items, the entry looks at `progress` and calls `cancel`.
    """

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.id = ShardId.of(shard)
        self.batch_key = json.dumps(dict(shard.options), sort_keys=True)
        """Items with equal keys may share a batch, of whichever shard they are."""
        self._outcomes: dict[int, Outcome] = {}
        self._awaiting_infer = set(range(len(shard.items)))
        self._error: BaseException | None = None
        self._cancelled = False
        self._lock = threading.Lock()
        self._over = threading.Event()

    # --- for the stream ---

    @property
    def is_wanted(self) -> bool:
        """False once it was cancelled or cannot succeed: its items are dropped wherever they are."""
        return not self._cancelled and self._error is None

    def settle(self, index: int, outcome: Outcome) -> bool:
        """An item's outcome; False where it has one already (its time was up and the step came back after all)."""
        with self._lock:
            if index in self._outcomes:
                return False
            self._outcomes[index] = outcome
            self._awaiting_infer.discard(index)
            if len(self._outcomes) == len(self.shard.items):
                self._over.set()
        return True

    def at_infer(self, index: int) -> None:
        """The model has taken this item up."""
        with self._lock:
            self._awaiting_infer.discard(index)

    def fail(self, error: BaseException) -> None:
        """Something that is no item's fault (the bucket, the model) makes it impossible to go on."""
        with self._lock:
            self._error = self._error or error
        self._over.set()

    # --- for the runner and the entry ---

    def cancel(self) -> None:
        """Nobody wants it any more, or it is given back."""
        self._cancelled = True
        self._over.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every item has its outcome, or it was cancelled or failed; whether that is so."""
        return self._over.wait(timeout_s)

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    @property
    def error(self) -> BaseException | None:
        return self._error

    @property
    def progress(self) -> int:
        """Items that have their outcome."""
        return len(self._outcomes)

    @property
    def awaiting_infer(self) -> int:
        """Items that the model has yet to take up."""
        return len(self._awaiting_infer)

    def outcomes(self) -> list[Outcome]:
        """In the order of the shard's items. Only when all are there."""
        return [self._outcomes[index] for index in range(len(self.shard.items))]

    def unsettled(self) -> list[int]:
        """Indices of items without an outcome."""
        return [index for index in range(len(self.shard.items)) if index not in self._outcomes]


@dataclass(slots=True)
class Passage:
    """One item in the stream; what it holds changes from stage to stage, so that nothing is kept longer than used."""

    feed: Feed
    index: int
    item: Item
    reservation: Reservation | None = None
    decoded: Decoded | None = None
    result: Any = None
    encoded: Encoded | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return Source(output=self.item.output, file_name=self.item.file_name)

    def release(self) -> None:
        """Let go of all it holds."""
        self.decoded = self.result = self.encoded = None
        if self.reservation is not None:
            self.reservation.release()
