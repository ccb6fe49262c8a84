"""Inputs become items become shards, while the upload goes on: each shard is written once its last item is stored."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import MappingProxyType

from gpupipe.jobs.sidecars import Sidecars
from gpupipe.jobs.sources import Input
from gpupipe.jobs.upload import Stored
from gpuworker.contract import Item, JobSpec, Shard, choose_outputs


class Assembly:
    """The shards of a job, from items that come in any order; safe to share between threads."""

    def __init__(
        self, spec: JobSpec, files: Sequence[Input], shard_items: int, sidecars: Sidecars = MappingProxyType({})
    ) -> None:
        self._spec = spec
        self._shard_items = shard_items
        self._sidecars = [sidecars.get(file.path, {}) for file in files] if sidecars else ()
        self._outputs = choose_outputs([file.path for file in files])
        self._waiting: dict[int, dict[int, Item]] = {}
        self._count = len(files)
        self._lock = threading.Lock()

    def shards(self) -> dict[str, int]:
        """Shard number (as text) -> how many items: what the manifest says."""
        starts = range(0, self._count, self._shard_items)
        return {str(number): self._size(number) for number in range(len(starts))}

    def add(self, index: int, stored: Stored) -> Shard | None:
        """Put the stored input number `index` in its place; the shard that this completes, if it does."""
        number = index // self._shard_items
        item = Item(
            key=stored.key,
            etag=stored.etag,
            size=stored.size,
            output=self._outputs[index],
            version_id=stored.version_id,
            sidecar=self._sidecars[index] if self._sidecars else {},
        )
        with self._lock:
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
