"""Items become shards, while the upload goes on: each shard is written once its last item is stored."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from gpuworker.contract import Item, JobSpec, Shard


@dataclass(frozen=True, kw_only=True)
class Content:
    """What some items are, whatever shards they lie in: their keys, sizes, ETags, and what lay beside them."""

    items: int = 0
    total: int = 0
    """The sum of the items' SHA-256, modulo 2**256: a million of them need no memory, and no order."""

    @classmethod
    def of(cls, items: Iterable[Item]) -> Content:
        digests = [_digest(item) for item in items]
        return cls(items=len(digests), total=sum(digests) % 2**256)

    def __add__(self, other: Content) -> Content:
        return Content(items=self.items + other.items, total=(self.total + other.total) % 2**256)

    def digest(self, about: str) -> str:
        """Of the content and of what is asked of it."""
        return hashlib.sha256(f"{about}\0{self.items}\0{self.total:064x}".encode()).hexdigest()


def _digest(item: Item) -> int:
    told = json.dumps([item.key, item.size, item.etag, item.sidecar], sort_keys=True)
    return int.from_bytes(hashlib.sha256(told.encode()).digest())


def shards_of(items: int, shard_items: int) -> dict[str, int]:
    """Shard number (as text) -> how many items: what the manifest says."""
    starts = range(0, items, shard_items)
    return {str(number): min(shard_items, items - start) for number, start in enumerate(starts)}


class Assembly:
    """The shards of a job, from items that come in any order; safe to share between threads."""

    def __init__(self, spec: JobSpec, count: int, shard_items: int) -> None:
        """`count`: of all items."""
        self._spec = spec
        self._shard_items = shard_items
        self._waiting: dict[int, dict[int, Item]] = {}
        self._count = count
        self._content = Content()
        self._lock = threading.Lock()

    def shards(self) -> dict[str, int]:
        return shards_of(self._count, self._shard_items)

    @property
    def content(self) -> Content:
        """Of all that was added."""
        return self._content

    def add(self, index: int, item: Item) -> Shard | None:
        """Put the item number `index` in its place; the shard that this completes, if it does."""
        number = index // self._shard_items
        content = Content.of([item])
        with self._lock:
            self._content += content
            items = self._waiting.setdefault(number, {})
            items[index] = item
            if len(items) < self._size(number):
                return None
            del self._waiting[number]
        return Shard(
            job=self._spec.job,
            pipeline=self._spec.pipeline,
            project=self._spec.project,
            number=number,
            task=self._spec.task,
            options=self._spec.options,
            items=[items[place] for place in sorted(items)],
        )

    def _size(self, number: int) -> int:
        return min(self._shard_items, self._count - number * self._shard_items)
