"""Bring the ledger in line with S3, where the truth is: after the local emulator was killed, or a table was lost.

Read are each job's documents: what was asked for, its manifests, its commits and the mark of a cancelled one. What the
ledger lacks is written, rows of shards first and the job's last, as dispatch does; a row that is as new stays as it is,
so rebuilding twice, or beside dispatch and workers, changes nothing. Nothing is sent: an unfinished shard is made to
look as if nobody had said a word of it for long, nor sent it, and the guard sends what is missing: by the count of the
queue's messages, or each shard of an asynchronous endpoint that nobody has sent. Not in S3, and so not brought back:
which shards were given up (they are tried again), that a held job was started by hand, and what machines cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

from gpupipe.jobs import JobsContext
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.rebuild_documents import Documents, Wanted, commit_of, documents_of, newest_retry, shard_of
from gpupipe.jobs.rebuild_dropins import announce_unknown, claim_keys
from gpuworker.contract import JOBS, ContractError
from gpuworker.ledger import Intake, JobRecord, Ledger, ShardRecord, ShardState, carried_items, job_of

T = TypeVar("T")
R = TypeVar("R")

JOBS_AT_ONCE, DOCUMENTS_AT_ONCE = 4, 8
CLOSE_ATTEMPTS = 5
SILENCE_S = 13 * 3600.0
"""So long an unfinished shard is said to wait, at least: more than SQS's longest visibility timeout."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What had to be written; all zero where the ledger was right."""

    jobs: int = 0
    """Job rows that were missing, or older than a retry."""
    shards: int = 0
    """Shard rows that were missing or older."""
    commits: int = 0
    """Commits that the ledger did not count yet."""
    cancelled: int = 0
    """Jobs that somebody had cancelled."""
    objects: int = 0
    """Dropped-in objects that dispatch was told of."""
    unreadable: Sequence[str] = ()
    """Jobs left alone because a document of theirs cannot be read, and why."""

    def __add__(self, other: Rebuilt) -> Rebuilt:
        return Rebuilt(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def rebuild(ctx: JobsContext, *, on_job: Callable[[str], None] = lambda _: None) -> Rebuilt:
    """Look at every job of the pipeline, then at all that was dropped in. Raises AwsError."""
    whole = Rebuilt()
    names = (name for name in ctx.folders(JOBS) if name != "drafts")
    for job, outcome in concurrently(names, partial(_rebuild_job, ctx), threads=JOBS_AT_ONCE):
        on_job(job)
        if isinstance(outcome, ContractError):
            whole += Rebuilt(unreadable=(f"{job}: {outcome}",))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            whole += outcome
    return whole + Rebuilt(objects=announce_unknown(ctx))


def _rebuild_job(ctx: JobsContext, job: str) -> Rebuilt:
    with ctx.at_ledger():
        record = ctx.ledger.job(job)
        if record is not None and record.is_over and record.generation >= newest_retry(ctx, job):
            return Rebuilt()
        if record is not None and record.pipeline != ctx.pipeline:
            raise ContractError(f"it is a job of pipeline {record.pipeline}")
        documents = documents_of(ctx, job)
        return _Rebuilding(ctx, documents, record).run() if documents else Rebuilt()


class _Rebuilding:
    """One job whose row is missing, or that is not over."""

    def __init__(self, ctx: JobsContext, documents: Documents, record: JobRecord | None) -> None:
        self._ctx, self._ledger = ctx, ctx.ledger
        self._documents, self._spec, self._job = documents, documents.spec, documents.spec.job
        self._record = record
        self._rows = {row.number: row for row in self._ledger.shards(self._job)}

    def run(self) -> Rebuilt:
        wanted = self._wanted()
        missing = [one for one in wanted if self._generation(one.number) < one.generation]
        if not self._documents.manifests:
            missing = self._claimed(missing)
            wanted = [one for one in wanted if one.number in self._rows or one in missing]
        elif self._spec.kind == "drop-in":
            self._claimed(missing)
        if not wanted:
            return Rebuilt()
        shards = self._ledger.put_shards(row for _, row in self._each(missing, self._row))
        unknown = [one for one in wanted if self._is_uncounted(one)]
        commits = sum(counted for _, counted in self._each(unknown, self._count))
        return Rebuilt(jobs=self._put_job(wanted), shards=shards, commits=commits, cancelled=self._end(wanted))

    def _each(self, pieces: Sequence[T], do: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """Many at once; raises what the first that fails raises."""
        for piece, outcome in concurrently(pieces, do, threads=DOCUMENTS_AT_ONCE):
            if isinstance(outcome, Exception):
                raise outcome
            yield piece, outcome

    # --- shards ---

    def _wanted(self) -> Sequence[Wanted]:
        """What the manifests name, in its newest generation; of a drop-in job that has none yet, all that was cut."""
        if self._documents.manifests:
            return self._documents.wanted(self._ctx)
        return [Wanted(number=number) for number in self._documents.shards] if self._spec.kind == "drop-in" else []

    def _generation(self, number: int) -> int:
        row = self._rows.get(number)
        return -1 if row is None else row.generation

    def _claimed(self, missing: Sequence[Wanted]) -> list[Wanted]:
        """Note whose the keys of a drop-in job's missing shards are, the newest first; those that are left to register.

        One whose items were all taken anew by others, and that has no commit, is one that dispatch gave up.
        """
        kept = []
        for one in sorted(missing, key=lambda one: -one.number):
            claims = claim_keys(self._ctx, shard_of(self._ctx, self._spec, one))
            if claims or one.place in self._documents.commits:
                kept.append(one)
        if kept and not self._documents.manifests:
            self._close()
        return kept

    def _close(self) -> None:
        """Numbers from the lost future must not be given out a second time: what arrives next opens another job."""
        for _ in range(CLOSE_ATTEMPTS):
            record = self._ledger.job(self._job)
            if record is None or record.intake is not Intake.OPEN:
                return
            if self._ledger.close_dropin_job(record.pipeline, record.project, self._job, record.shards):
                return

    def _row(self, one: Wanted) -> ShardRecord:
        shard = shard_of(self._ctx, self._spec, one) if one.generation or not one.items else None
        carried = dict(shard.carried) if shard else {}
        items = (len(shard.items) if shard else one.items) + carried_items(carried)
        is_cancelled = self._documents.is_cancelled(one) and one.place not in self._documents.commits
        return ShardRecord(
            job=self._job,
            number=one.number,
            generation=one.generation,
            state=ShardState.CANCELLED if is_cancelled else ShardState.PENDING,
            items=items,
            carried=carried,
            created_at=min(self._spec.created_at, time.time() - SILENCE_S),
            finished_at=self._documents.cancelled_at if is_cancelled else None,
        )

    def _is_uncounted(self, one: Wanted) -> bool:
        if one.place not in self._documents.commits:
            return False
        row = self._rows.get(one.number)
        if row is None or row.generation < one.generation:
            return True
        # A row without items is void: others took its keys anew, and count them.
        return row.state is not ShardState.DONE and row.items > 0

    def _count(self, one: Wanted) -> bool:
        """Replay what the worker that committed has told the ledger."""
        result = commit_of(self._ctx, self._job, one)
        self._ledger_at(result.started_at).start_shard(*result.place, result.machine)
        return self._ledger_at(result.finished_at).count_result(result)

    # --- the job ---

    def _put_job(self, wanted: Sequence[Wanted]) -> int:
        generation = max(self._documents.manifests, default=0)
        if self._record is None:
            return int(self._ledger.put_job(self._new_record(wanted, generation)))
        if self._record.intake is Intake.OPEN and self._documents.manifests:
            self._ledger.set_intake(self._record, Intake.SEALED)
        return int(self._record.generation < generation and self._ledger.renew_job(self._job, generation))

    def _new_record(self, wanted: Sequence[Wanted], generation: int) -> JobRecord:
        return job_of(
            self._spec,
            items=sum(row.items for row in self._ledger.shards(self._job)),
            shards=max(one.number for one in wanted) + 1,
            generation=generation,
            # A drop-in job without a manifest takes no more; the guard writes its manifest when it is done.
            intake=Intake.SEALED if self._documents.manifests else Intake.CLOSED,
        )

    def _end(self, wanted: Sequence[Wanted]) -> int:
        """Cancelled or finished, if it is; how many were cancelled. One that was done by then is finished."""
        cancelled_at = self._documents.cancelled_at
        is_done = all(one.place in self._documents.commits for one in wanted)
        if cancelled_at is not None and self._documents.is_cancelled_whole and not is_done:
            self._ledger_at(cancelled_at).cancel_job(self._job, "cancelled")
            return 1
        finished_at = self._ledger.totals(self._job).last_finished_at
        if finished_at is not None:
            self._ledger_at(finished_at).finish_if_complete(self._job)
        return 0

    def _ledger_at(self, at: float) -> Ledger:
        """The ledger as it was written at that time."""
        return Ledger(self._ctx.aws.client("dynamodb"), self._ctx.aws.stack.table, lambda: at)
