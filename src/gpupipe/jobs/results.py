"""What became of each item: the commits of a job, read as a stream, with everything that happened twice merged.

A shard's commits (one a generation) fit in memory, a job does not, so one shard is held at a time. Which of an item's
outcomes counts is one rule, `Outcome.supersedes`, folded from the oldest to the newest: over the generations of a
shard, over the shards of a drop-in job, and over the jobs of a project.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gpupipe.aws import Aws
from gpupipe.errors import IntegrityError
from gpupipe.jobs.mirror import Mirror
from gpuworker.contract import (
    ContractError,
    Failure,
    ItemResult,
    Place,
    Shard,
    ShardResult,
    is_generated_name,
    parse_result_key,
    read_result,
    read_shard,
    result_key,
    result_prefix,
    shard_key,
)
from gpuworker.ledger import JobRecord, Ledger, ShardRecord, ShardState, Totals

CHECKSUM_SHOWN = 12
"""Characters of a value's checksum that tell it from others of the same name: 48 bits, for some millions."""
NOT_PROCESSED = "not_processed"
"""Failure code of the items of a shard that was given up: no worker could commit it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One commit without its items: who did it, when, where the time went, and what its results share."""

    job: str
    number: int
    generation: int
    machine: str = ""
    engine: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    """For COCO `info`, `licenses` and `categories`; empty for a shard that was given up."""
    started_at: float = 0.0
    finished_at: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)
    items: int = 0
    """How many results and failures it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one item: a result or a failure, and the commit that says so."""

    commit: Commit
    result: ItemResult | None = None
    failure: Failure | None = None
    is_one_of_many_jobs: bool = False
    """Is it read together with other jobs' of its project?"""

    @property
    def _about(self) -> ItemResult | Failure:
        about = self.result or self.failure
        assert about is not None, "an outcome is a result or a failure"
        return about

    @property
    def file_name(self) -> str:
        """Path of the image below its project, or name of the value: what identifies it in a job, and over all jobs.

        `item-00001` is another value in each job, so that over jobs its checksum is part of its name.
        """
        name = self._about.key.split("/", 2)[-1]
        if self.is_one_of_many_jobs and self.value is not None and is_generated_name(name):
            return f"{name}~{self.etag[:CHECKSUM_SHOWN]}"
        return name

    @property
    def value(self) -> Mapping[str, Any] | None:
        """The input, where it is a value."""
        return self._about.value

    @property
    def key(self) -> str:
        return self._about.key

    @property
    def output(self) -> str:
        return self._about.output

    @property
    def etag(self) -> str:
        return self._about.etag

    def supersedes(self, older: Outcome | None) -> bool:
        """Does this count from now on? A later failure does not take away a result of the very same input."""
        if older is None or self.result is not None or older.result is None:
            return True
        return self.etag != older.etag


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardOutcomes:
    """One shard with its generations merged; `outcomes` in the order of their outputs, one an item."""

    job: str
    number: int
    outcomes: Sequence[Outcome]
    commits: Sequence[Commit]


@dataclass(frozen=True, kw_only=True)
class JobResults:
    """What there is to read of one job: its state, its commits by number and generation, its given-up shards."""

    record: JobRecord
    totals: Totals
    commits: Sequence[tuple[int, int]]
    """(number, generation), rising; the one thing held for the whole job, a hundred bytes a commit."""
    dead: Mapping[int, ShardRecord]
    is_one_of_many: bool = False
    """Are results of other jobs of the project read with it?"""

    @property
    def is_complete(self) -> bool:
        """Nothing more will come by itself."""
        return self.record.is_over or self.totals.is_complete

    def shards(self, mirror: Mirror) -> Iterator[ShardOutcomes]:
        """Every shard that has something to tell, in the order of their numbers."""
        numbered: dict[int, list[int]] = {number: [] for number in self.dead}
        for number, group in itertools.groupby(self.commits, key=lambda commit: commit[0]):
            numbered[number] = [generation for _, generation in group]
        for number in sorted(numbered):
            yield self._merged(mirror, number, numbered[number])

    def _merged(self, mirror: Mirror, number: int, generations: Sequence[int]) -> ShardOutcomes:
        job, dead = self.record.job, self.dead.get(number)
        commits = [_committed(read_commit(mirror, self.record, number, generation)) for generation in generations]
        told = list(commits)
        if dead is not None and dead.generation not in generations:
            told.append(_given_up(mirror, dead, self.record))
        latest: dict[str, Outcome] = {}
        for _, outcomes in sorted(told, key=lambda pair: pair[0].generation):
            for outcome in outcomes:
                if outcome.supersedes(latest.get(outcome.output)):
                    latest[outcome.output] = replace(outcome, is_one_of_many_jobs=self.is_one_of_many)
        return ShardOutcomes(
            job=job,
            number=number,
            outcomes=[latest[output] for output in sorted(latest)],
            commits=[commit for commit, _ in commits],
        )


def open_results(
    aws: Aws, ledger: Ledger, mirror: Mirror, record: JobRecord, *, is_one_of_many: bool = False
) -> JobResults:
    """Look at the ledger, then list the commits and copy those that are new into the mirror.

    In this order, because a commit is written before its row: what the ledger counts as done has been listed.
    """
    dead: dict[int, ShardRecord] = {}

    def seen(shards: Iterable[ShardRecord]) -> Iterator[ShardRecord]:
        for shard in shards:
            if shard.state is ShardState.DEAD:
                dead[shard.number] = shard
            yield shard

    totals = Totals.of(seen(ledger.shards(record.job)))
    commits: list[tuple[int, int]] = []

    def listed() -> Iterator[tuple[str, int]]:
        for key, size in mirror.list(aws, result_prefix(record.job)):
            with contextlib.suppress(ContractError):  # nothing of ours, and no name for a file here
                commits.append(parse_result_key(key))
                yield key, size

    mirror.fill(listed())
    # The order of keys is not that of numbers once there are more than 99,999 shards.
    return JobResults(record=record, totals=totals, commits=sorted(commits), dead=dead, is_one_of_many=is_one_of_many)


def read_commit(mirror: Mirror, record: JobRecord, number: int, generation: int) -> ShardResult:
    """One commit of a job. Raises IntegrityError where it cannot be read, or tells of anything but this job."""
    job, project = record.job, record.project
    key = result_key(job, number, generation)
    for attempt in ("mirrored", "fresh"):
        try:
            data = mirror.read(key, fresh=attempt == "fresh")
            return read_result(data, place=(job, number, generation), project=project)
        except ContractError as error:
            problem = error
    raise IntegrityError(
        f"cannot read {key}: {problem}.", hint="If a newer gpupipe wrote it, update this one; else retry the job."
    ) from problem


def _committed(result: ShardResult) -> tuple[Commit, list[Outcome]]:
    commit = Commit(
        job=result.job,
        number=result.number,
        generation=result.generation,
        machine=result.machine,
        engine=result.engine,
        header=result.header,
        started_at=result.started_at,
        finished_at=result.finished_at,
        timings=result.timings,
        items=len(result.items) + len(result.failures),
    )
    return commit, [
        *(Outcome(commit=commit, result=item) for item in result.items),
        *(Outcome(commit=commit, failure=failure) for failure in result.failures),
    ]


def _given_up(mirror: Mirror, dead: ShardRecord, record: JobRecord) -> tuple[Commit, list[Outcome]]:
    """The items of a dead shard, each as a failure: a person asked for them, so they are accounted for."""
    shard = _dead_shard(mirror, dead.place, record)
    commit = Commit(job=dead.job, number=dead.number, generation=dead.generation)
    reason = dead.reason or f"its shard was given up after {dead.started} tries without a result"
    return commit, [
        Outcome(
            commit=commit,
            failure=Failure.of(item, code=NOT_PROCESSED, message=reason),
        )
        for item in shard.items
    ]


def _dead_shard(mirror: Mirror, place: Place, record: JobRecord) -> Shard:
    key = shard_key(*place)
    try:
        return read_shard(mirror.read(key), place=place, pipeline=record.pipeline, project=record.project)
    except ContractError as error:
        raise IntegrityError(f"cannot read {key}: {error}.", hint="Submit its inputs again as another job.") from error


class Newest:
    """Which outcome of each image counts, where one image may be in several shards or jobs; on disk, not in memory.

    Fed with every shard from the oldest job to the newest, then asked for each.
    """

    def __init__(self) -> None:
        # "" is a private database that SQLite keeps in memory while small, then in a file that nobody else sees.
        # The download's threads take turns in reading the stream, so the connection is used by several, one at a time.
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute(
            "CREATE TABLE newest (file_name TEXT PRIMARY KEY, etag TEXT, good INT, job TEXT, number INT) WITHOUT ROWID"
        )

    def add(self, shard: ShardOutcomes) -> None:
        """Fold a shard in; `Outcome.supersedes` in SQL."""
        rows = ((one.file_name, one.etag, one.result is not None, shard.job, shard.number) for one in shard.outcomes)
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO newest VALUES (?, ?, ?, ?, ?) ON CONFLICT (file_name) DO UPDATE SET etag = excluded.etag, "
            "good = excluded.good, job = excluded.job, number = excluded.number "
            "WHERE excluded.good OR NOT good OR etag != excluded.etag",
            rows,
        )
        self._db.execute("COMMIT")

    def counts(self, outcome: Outcome) -> bool:
        """Is this the outcome of its image that counts?"""
        row = self._db.execute("SELECT job, number FROM newest WHERE file_name = ?", (outcome.file_name,)).fetchone()
        return bool(row == (outcome.commit.job, outcome.commit.number))

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self._db.execute("SELECT count(*) FROM newest").fetchone()[0])

    def close(self) -> None:
        self._db.close()
