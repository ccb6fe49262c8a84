"""Forgetting a pipeline that was deleted: one made again under its name must not take up what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpuworker.ledger.dropins import Dropins
from gpuworker.ledger.machines import NEXT, Machines
from gpuworker.ledger.table import Key, Write


class Forgetting(Dropins, Machines):
    """Deletes rows; of everything else in the table nothing is touched."""

    def forget_pipeline(self, pipeline: str) -> int:
        """Delete all rows of the pipeline and its jobs; how many. Killed anywhere, the next call does the rest.

        But those of its machines: they are what the month has cost.
        """
        count = 0
        projects = set()
        for record in self.jobs(pipeline=pipeline):
            # By its own row, which is the last of all, the others are found, its project's drop-ins among them.
            count += self._delete(self._keys_of(f"job#{record.job}"))
            projects.add(record.project)
        for partition in _partitions(pipeline, projects):
            count += self._delete(self._keys_of(partition))
        return count + self._delete(("jobs", record.job) for record in list(self.jobs(pipeline=pipeline)))

    def _keys_of(self, partition: str) -> Iterator[Key]:
        yield from ((row["pk"], row["sk"]) for row in self._query(partition, only=("pk", "sk")))

    def _delete(self, keys: Iterable[Key]) -> int:
        found = list(keys)
        self._write_each(Write(key=key, delete=True) for key in found)
        return len(found)


def _partitions(pipeline: str, projects: Iterable[str]) -> Iterator[str]:
    yield from (f"{what}#{pipeline}" for what in ("active", "guard", "kept"))
    yield f"guard#{pipeline}{NEXT}"
    yield from (f"dropin#{pipeline}#{project}" for project in sorted(projects))
    yield f"dropin#{pipeline}"
