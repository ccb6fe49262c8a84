"""The items of one shard on their way through the stream, and the outcomes that gather.

Where an item's bytes come from and where its result goes is its run's: for a shard the bucket, for a request by HTTP
the request itself and its answer (`gpuworker.entries.serving.direct`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from gpuworker.contract import Failure, Item, ItemResult, Shard
from gpuworker.contract.items import Source
from gpuworker.pipeline.budget import Reservation
from gpuworker.pipeline.journal import ShardId
from gpuworker.pipeline.record import publish
from gpuworker.pipeline.spool import SPOOL_FROM_BYTES, Spooled
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Decoded, Encoded

Outcome = ItemResult | Failure
Content = bytes | Path | Mapping[str, Any]
"""Of an item: an object's bytes, the file that they are in, or a value."""


class ShardRun:
    """One shard in work: what is done, what waits, and whether anybody still wants it.

    The runner fills and awaits it, the stream settles its items, the entry looks at `progress` and calls `cancel`.
    """

    gives_files: ClassVar[bool] = True
    """Whether an item may be fetched into a file."""

    def __init__(self, shard: Shard, *, on_over: Callable[[], None] = lambda: None) -> None:
        """`on_over` is called in whatever thread ends the wait; maybe more than once."""
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
        self._on_over = on_over
        self.large: dict[int, Decoded] = {}
        """Items in the stream that weigh more than one ordinary item."""
        self.taken_over = 0
        """Items whose outcome an earlier run had left; the runner sets it."""

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
            complete = len(self._outcomes) == len(self.shard.items)
        if complete:
            self._end()
        return True

    def at_infer(self, index: int) -> None:
        """The model has taken this item up."""
        with self._lock:
            self._awaiting_infer.discard(index)

    def fail(self, error: BaseException) -> None:
        """Something that is no item's fault (the bucket, the model) makes it impossible to go on."""
        with self._lock:
            self._error = self._error or error
        self._end()

    def fetch(self, item: Item, storage: Storage) -> bytes:
        """An item's bytes. Raises ItemError, and StorageError for what is not the item's fault."""
        # What the shard says of its size has made room for it: an object that is larger is not read.
        most = item.size or SPOOL_FROM_BYTES
        found = storage.get(item.key, etag=item.etag, version_id=item.version_id, size=item.size, at_most=most)
        return found.data

    def fetch_file(self, item: Item, storage: Storage, path: Path) -> None:
        """The same into a file. Raises OSError as well."""
        storage.get_file(item.key, path, etag=item.etag, version_id=item.version_id, size=item.size)

    def deliver(
        self, item: Item, encoded: Encoded, storage: Storage, *, record_name: str, seconds: Mapping[str, float]
    ) -> Outcome:
        """Put an item's result where it belongs; the outcome. Raises StorageError."""
        return publish(storage, self.shard, item, encoded, record_name=record_name, seconds=seconds)

    def _end(self) -> None:
        self._over.set()
        self._on_over()

    # --- for the runner and the entry ---

    def cancel(self) -> None:
        """Nobody wants it any more, or it is given back."""
        self._cancelled = True
        self._end()

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
    def parts(self) -> tuple[int, int]:
        """Of the `large` items: the weight that the model has done, and all of it."""
        large = list(self.large.values())
        return sum(one.weight_done() for one in large), sum(one.weight + one.extra_weight() for one in large)

    @property
    def finished_here(self) -> int:
        """Items that have their outcome from this run."""
        return len(self._outcomes) - self.taken_over

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
class InFlightItem:
    """One item in the stream; what it holds changes from stage to stage, so that nothing is kept longer than used."""

    shard_run: ShardRun
    index: int
    item: Item
    reservation: Reservation | None = None
    spooled: Spooled | None = None
    """Its file, where it is too large for memory."""
    decoded: Decoded | None = None
    result: Any = None
    encoded: Encoded | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return Source(output=self.item.output, file_name=self.item.file_name, sidecar=self.item.sidecar)

    @property
    def weight(self) -> int:
        """How many ordinary items' work it is, as far as that is known."""
        decoded = self.decoded
        return decoded.weight + decoded.extra_weight() if decoded is not None else 1

    def let_go(self) -> None:
        """Hold no pixels and no result any more, here or in the run, whose room others are given from now on."""
        self.decoded = self.result = self.encoded = None
        self.shard_run.large.pop(self.index, None)

    def release(self) -> None:
        """Give back all it holds."""
        self.let_go()
        if self.spooled is not None:
            self.spooled.remove()
        if self.reservation is not None:
            self.reservation.release()
