"""Drop-ins: the open job of a project, the newest version seen of each key, and the output names taken.

Nothing is lost and nothing is taken twice, though dispatch may be killed anywhere and may run many times at once:

1. A shard number is allocated from the open job, key records name it, and last the shard's row is put.
2. A key record whose shard row exists is a duplicate. Where the row is missing, the rival may be dead or only slow:
   `void_shard` decides. It puts a cancelled row with no items, so that either the rival's row or the void one wins;
   after a void one the key is taken anew, and the slow rival finds its row refused and looks at its keys again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from gpuworker.ledger.jobs import Jobs, as_opened, open_dropin_key
from gpuworker.ledger.records import Ignored, Intake, JobRecord, KeyRecord, ShardRecord, ShardState
from gpuworker.ledger.rows import from_row, to_row
from gpuworker.ledger.shards import job_row_key, shard_row_key
from gpuworker.ledger.table import ABSENT, SORT_KEY_MAX_BYTES, Key, Write


def _sort_key(prefix: str, name: str) -> str:
    """`<prefix>#<name>`, or the name's hash where DynamoDB's limit is too small for it."""
    whole = f"{prefix}#{name}"
    if len(whole.encode()) <= SORT_KEY_MAX_BYTES:
        return whole
    return f"{prefix}-sha256#{hashlib.sha256(name.encode()).hexdigest()}"


class Dropins(Jobs):
    """Objects that any S3 client put under `incoming/`."""

    def dropin_job(self, pipeline: str, project: str) -> str | None:
        """The project's open drop-in job."""
        row = self._get(open_dropin_key(pipeline, project))
        return str(row["job"]) if row else None

    def open_dropin_job(self, record: JobRecord) -> str:
        """Open `record` as its project's drop-in job; the id of the one that is open, a rival's perhaps."""
        pointer = Write(key=open_dropin_key(record.pipeline, record.project), put={"job": record.job}, where=ABSENT)
        active = Write(key=(f"active#{record.pipeline}", record.job), put={"job": record.job})
        row = Write(key=job_row_key(record.job), put=to_row(as_opened(record)), where=ABSENT)
        if self._write_together(pointer, active, row):
            return record.job
        return self.dropin_job(record.pipeline, record.project) or self.open_dropin_job(record)

    def allocate_shard(self, job: str, items: int = 0) -> int | None:
        """The next shard number of an open drop-in job; None when it takes no more."""
        row = self._write(
            Write(
                key=job_row_key(job),
                update="ADD #shards :one, #items :more",
                where="#intake = :open",
                values={"one": 1, "more": items, "open": Intake.OPEN},
            )
        )
        return int(row["shards"]) - 1 if row else None

    def void_shard(self, job: str, number: int) -> bool:
        """Make sure that no row of this number ever appears; False where it is there already (and is not void)."""
        now = self._clock()
        void = ShardRecord(job=job, number=number, state=ShardState.CANCELLED, items=0, created_at=now, finished_at=now)
        if self._write(Write(key=shard_row_key(job, number), put=to_row(void), where=ABSENT)) is not None:
            return True
        row = self.shard(job, number)
        return row is not None and row.items == 0

    def close_dropin_job(self, pipeline: str, project: str, job: str, shards_seen: int) -> bool:
        """Let the job take no more, unless more shards than `shards_seen` were allocated; the next object opens
        another. Its manifest is written next, then `seal_job`."""
        record = self.job(job)
        if record is None or (record.pipeline, record.project) != (pipeline, project):
            return False
        return self.set_intake(record, Intake.CLOSED, shards_seen=shards_seen)

    def seal_job(self, job: str) -> bool:
        """The manifest of a closed drop-in job is written: it may finish."""
        record = self.job(job)
        return record is not None and record.intake is not Intake.OPEN and self.set_intake(record, Intake.SEALED)

    # --- keys ---

    def keys(self, pipeline: str, project: str, keys: Iterable[str]) -> dict[str, KeyRecord]:
        """What is known of these keys."""
        rows = self._get_many(_key_key(pipeline, project, key) for key in keys)
        return {row["key"]: from_row(KeyRecord, row) for row in rows.values()}

    def record_key(self, pipeline: str, project: str, record: KeyRecord, known: KeyRecord | None = None) -> bool:
        """Note the newest version of a key, if what is known of it is still `known`."""
        return record.key not in self.record_keys(pipeline, project, [(record, known)])

    def record_keys(
        self, pipeline: str, project: str, records: Sequence[tuple[KeyRecord, KeyRecord | None]]
    ) -> set[str]:
        """`record_key` for many at once; the keys that somebody else changed meanwhile."""
        by_place = {_key_key(pipeline, project, record.key): record.key for record, _ in records}
        refused = self._write_each(
            Write(
                key=_key_key(pipeline, project, record.key),
                put=to_row(record),
                where="#job = :known_job AND #shard = :known_shard AND #etag = :known_etag" if known else ABSENT,
                values={"known_job": known.job, "known_shard": known.shard, "known_etag": known.etag} if known else {},
            )
            for record, known in records
        )
        return {by_place[place] for place in refused}

    # --- output names ---

    def claim_output(self, job: str, output: str, key: str) -> bool:
        """Take an output name for a key; True also when the key had it already."""
        return not self.claim_outputs(job, {output: key})

    def claim_outputs(self, job: str, claims: Mapping[str, str]) -> set[str]:
        """`claim_output` for many (output -> key); the outputs that belong to another key."""
        by_place = {_output_key(job, output): output for output in claims}
        refused = self._write_each(
            Write(
                key=_output_key(job, output),
                put={"output": output, "key": key},
                where=f"{ABSENT} OR #key = :key",
                values={"key": key},
            )
            for output, key in claims.items()
        )
        return {by_place[place] for place in refused}

    # --- what was not taken ---

    def count_ignored(
        self, pipeline: str, project: str, reason: str, count: int, last_key: str, *, world_files: int = 0
    ) -> None:
        """Note objects that were not taken; information only, so a redelivery may count them again."""
        fields = {"project": project, "reason": reason, "last_key": last_key, "at": self._clock()}
        update = "SET " + ", ".join(f"#{name} = :{name}" for name in fields)
        update += " ADD #count :count, #world_files :world_files"
        place = (f"guard#{pipeline}", _sort_key("ignored", f"{project}#{reason}"))
        values = {**fields, "count": count, "world_files": world_files}
        self._write(Write(key=place, update=update, values=values))

    def ignored(self, pipeline: str) -> list[Ignored]:
        """Dropped-in objects that were not taken, by project and reason."""
        return [from_row(Ignored, row) for row in self._query(f"guard#{pipeline}", "ignored")]


def _key_key(pipeline: str, project: str, key: str) -> Key:
    return f"dropin#{pipeline}#{project}", _sort_key("key", key)


def _output_key(job: str, output: str) -> Key:
    return f"job#{job}", _sort_key("output", output)
