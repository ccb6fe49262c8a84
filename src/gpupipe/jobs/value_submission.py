"""A submission of values: nothing is uploaded but the shards that they travel in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import ClassVar

from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.submission import Submission
from gpupipe.jobs.upload import write_document
from gpupipe.jobs.values import InlineValue, Values
from gpuworker.contract import SHARD_VALUES_BYTES, shard_key

WRITERS = 8
"""Shards that are written at once: each holds up to 4 MiB and takes Python's interpreter to write."""


class ValueSubmission(Submission):
    """Of values, which are in memory already."""

    unit: ClassVar[str] = "items"
    _inputs: Values

    def _send(self) -> None:
        written = concurrently(range(len(self._assembly.shards())), self._write, threads=WRITERS)
        with closing(written):
            for number, problem in written:
                if problem is not None:
                    raise problem
                self._count(self._of_shard(number))

    def _of_shard(self, number: int) -> Sequence[InlineValue]:
        size = self._draft.shard_items
        return self._inputs.files[number * size : (number + 1) * size]

    def _write(self, number: int) -> None:
        """Make the shard of this number, and write it."""
        first, shard = number * self._draft.shard_items, None
        for index, value in enumerate(self._of_shard(number), first):
            shard = self._assembly.add(index, value.item(self._spec.project))
        if shard is not None:
            write_document(self._store, shard_key(shard.job, shard.number), shard.to_json())


def values_a_shard(values: Sequence[InlineValue]) -> int:
    """How many of them a shard may hold, so that none is too large to be sent; all shards of a job hold as many."""
    largest = max(value.stored_bytes for value in values)
    return max(1, SHARD_VALUES_BYTES // largest)
