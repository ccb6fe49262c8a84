"""Job rows, and the pointers to those that are unfinished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from gpuworker.contract import JobSpec
from gpuworker.ledger.records import JOB_OVER, Intake, JobRecord, JobState, ShardRecord, ShardState
from gpuworker.ledger.rows import from_row, to_row
from gpuworker.ledger.shards import Shards, job_row_key, shard_row_key
from gpuworker.ledger.table import ABSENT, EXISTS, Key, Write, setting


def _active_key(pipeline: str, job: str) -> Key:
    return f"active#{pipeline}", job


class Jobs(Shards):
    """Questions about and changes of jobs."""

    def job(self, job: str) -> JobRecord | None:
        row = self._get(job_row_key(job))
        return from_row(JobRecord, row) if row else None

    def is_of_another(self, job: str, pipeline: str) -> bool:
        """Is it the job of another pipeline of the stack? One that is being registered is nobody else's."""
        record = self.job(job)
        return record is not None and record.pipeline != pipeline

    def jobs(
        self,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        project: str | None = None,
        pipeline: str | None = None,
    ) -> Iterator[JobRecord]:
        """All jobs by age; job ids begin with their time."""
        found = 0
        for row in self._query("jobs", newest_first=newest_first):
            if project not in (None, row["project"]) or pipeline not in (None, row["pipeline"]):
                continue
            if limit is not None and found >= limit:
                return
            found += 1
            yield from_row(JobRecord, row)

    def active_jobs(self, pipeline: str) -> list[JobRecord]:
        """Unfinished jobs of a pipeline, oldest first."""
        names = [row["sk"] for row in self._query(f"active#{pipeline}")]
        rows = self._get_many(job_row_key(job) for job in names)
        return [from_row(JobRecord, rows[job_row_key(job)]) for job in names if job_row_key(job) in rows]

    # --- opening ---

    def open_job(self, record: JobRecord, shards: Iterable[ShardRecord]) -> bool:
        """Register a job: the shard rows that are missing, then the job row. True when the job row is new.

        A job row therefore means that all its shards are registered; dispatch sends their messages in between.
        """
        self.put_shards(shards)
        return self.put_job(record)

    def put_job(self, record: JobRecord) -> bool:
        """Write the job row and its active pointer, once."""
        return self._write_together(
            Write(key=job_row_key(record.job), put=to_row(record), where=ABSENT), _pointer(record.pipeline, record.job)
        )

    def reopen_job(self, job: str, generation: int, shards: Iterable[ShardRecord]) -> bool:
        """A retry: rows of a newer generation replace older ones, never the reverse; then the job is PENDING again."""
        self.put_shards(shards)
        return self.renew_job(job, generation)

    def renew_job(self, job: str, generation: int) -> bool:
        """The job row's part of `reopen_job`. False where the job is unknown or as new already."""
        record = self.job(job)
        if record is None:
            return False
        fields = {"generation": generation, "state": JobState.PENDING, "reason": "", "woken_at": self._clock()}
        renewal = Write(
            key=job_row_key(job),
            update=setting(fields, "REMOVE #finished_at"),
            where=f"{EXISTS} AND #generation < :generation",
            values=fields,
        )
        return self._write_together(renewal, _pointer(record.pipeline, job))

    # --- moving on ---

    def set_job_state(
        self, job: str, state: JobState, *, reason: str = "", only_from: set[JobState] | None = None
    ) -> bool:
        """Move a job; one that is over leaves the active list. False where it is unknown or not in `only_from`."""
        record = self.job(job)
        if record is None:
            return False
        fields: dict[str, Any] = {"state": state, "reason": reason}
        if state in JOB_OVER:
            fields["finished_at"] = self._clock()
        allowed = {f"from_{old.value}": old for old in only_from or ()}
        condition = f"#state IN ({', '.join(f':{name}' for name in allowed)})" if allowed else EXISTS
        move = Write(key=job_row_key(job), update=setting(fields), where=condition, values={**fields, **allowed})
        if state not in JOB_OVER:
            return self._write(move) is not None
        return self._write_together(move, Write(key=_active_key(record.pipeline, job), delete=True))

    def wake_job(self, job: str) -> bool:
        """A person wants it to go on: HELD and STALLED jobs are PENDING, with as many tries as a new one."""
        fields = {"state": JobState.PENDING, "reason": "", "hold": False, "woken_at": self._clock()}
        write = Write(
            key=job_row_key(job),
            update=setting(fields),
            where="#state IN (:held, :stalled)",
            values={**fields, "held": JobState.HELD, "stalled": JobState.STALLED},
        )
        return self._write(write) is not None

    def revive_shard(self, job: str, number: int, generation: int, *, sent: bool = True) -> bool:
        """A dead shard's message is back in the queue, or not `sent` yet: PENDING with all its tries, and its job
        unfinished again.

        False where it is not dead in this generation, or its job cancelled.
        """
        record, now = self.job(job), self._clock()
        if record is None or record.state is JobState.CANCELLED:
            return False
        fields: dict[str, Any] = {"state": ShardState.PENDING, "started": 0, "progress": 0, "machine": "", "reason": ""}
        fields |= {"sent_at": now if sent else 0.0, "created_at": now, "failures": 0}
        shard = Write(
            key=shard_row_key(job, number),
            update=setting(fields, "REMOVE #finished_at"),
            where="#generation = :generation AND #state = :dead",
            values={**fields, "generation": generation, "dead": ShardState.DEAD},
        )
        again = {"state": JobState.PENDING, "reason": "", "woken_at": now}
        renewal = Write(key=job_row_key(job), update=setting(again, "REMOVE #finished_at"), where=EXISTS, values=again)
        return self._write_together(shard, renewal, _pointer(record.pipeline, job))

    def mark_dead(self, job: str, number: int, generation: int, reason: str) -> bool:
        """A shard will not be tried again: DEAD, and its job finished where that was the last; else whoever watches
        the job waits for ever. False where the shard has moved on. Killed half-way, the same call does the rest."""
        marked = self._mark_dead((job, number, generation), reason)
        self.finish_if_complete(job)
        return marked

    def finish_if_complete(self, job: str) -> bool:
        """FINISHED, when every shard is done, dead or cancelled and no more can come. True when this call did it."""
        record = self.job(job)
        if record is None or record.is_over or record.intake is not Intake.SEALED or self.has_open_shards(job):
            return False
        return self.set_job_state(job, JobState.FINISHED, only_from=set(JobState) - JOB_OVER)

    def cancel_job(self, job: str, reason: str) -> int:
        """Pending and running shards are CANCELLED, then the job; the number of shards cancelled.

        A worker notices by its heartbeat. What was committed stays. Killed half-way, the job is still active and the
        same call completes it.
        """
        record = self.job(job)
        if record is None or record.is_over:
            return 0
        if record.intake is not Intake.SEALED:
            self.set_intake(record, Intake.SEALED)
        cancelled = self.cancel_shards(job)
        self.set_job_state(job, JobState.CANCELLED, reason=reason, only_from=set(JobState) - JOB_OVER)
        return cancelled

    def set_intake(self, record: JobRecord, intake: Intake, *, shards_seen: int | None = None) -> bool:
        """Close or seal a drop-in job; `shards_seen` makes it fail where more shards were allocated since."""
        fields: dict[str, Any] = {"intake": intake}
        where, values = EXISTS, dict(fields)
        if shards_seen is not None:
            where, values = "#shards = :seen AND #intake = :open", {**fields, "seen": shards_seen, "open": Intake.OPEN}
        move = Write(key=job_row_key(record.job), update=setting(fields), where=where, values=values)
        return self._write_together(move, *self._forget_open(record))

    def _forget_open(self, record: JobRecord) -> list[Write]:
        key = open_dropin_key(record.pipeline, record.project)
        pointer = self._get(key) if record.intake is Intake.OPEN else None
        if pointer is None or pointer["job"] != record.job:
            return []
        return [Write(key=key, delete=True, where="#job = :job", values={"job": record.job})]


def open_dropin_key(pipeline: str, project: str) -> Key:
    return f"dropin#{pipeline}", f"project#{project}"


def job_of(
    spec: JobSpec, *, items: int = 0, shards: int = 0, generation: int = 0, intake: Intake = Intake.SEALED
) -> JobRecord:
    """The row of a job at its beginning, as asked for; one that is to be held is so until a retry of it."""
    return JobRecord(
        job=spec.job,
        pipeline=spec.pipeline,
        project=spec.project,
        task=spec.task,
        kind=spec.kind,
        state=JobState.HELD if spec.hold and not generation else JobState.PENDING,
        created_at=spec.created_at,
        items=items,
        shards=shards,
        generation=generation,
        hold=spec.hold,
        intake=intake,
    )


def _pointer(pipeline: str, job: str) -> Write:
    return Write(key=_active_key(pipeline, job), put={"job": job})


def as_opened(record: JobRecord) -> JobRecord:
    """A drop-in job at its beginning."""
    return replace(record, intake=Intake.OPEN, items=0, shards=0)
