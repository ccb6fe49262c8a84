"""Shard rows: registered by dispatch, moved on by workers, looked at by everybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gpuworker.contract import Place, ShardResult
from gpuworker.ledger.records import JobState, ShardRecord, ShardState, Totals
from gpuworker.ledger.rows import from_row, to_row
from gpuworker.ledger.table import ABSENT, EXISTS, Key, Row, Table, Write, setting

_TOTALLED = (
    "state",
    "items",
    "done",
    "failed",
    "progress",
    "parts",
    "parts_done",
    "counts",
    "seconds",
    "engine",
    "started_at",
    "finished_at",
)
_IS_OPEN = "#state IN (:pending, :running)"
_IS_FREE = "(#state = :pending OR #machine = :machine OR #heartbeat_at <= :stale)"
_IS_NOT_RETURNED = "(attribute_not_exists(#returned_at) OR #returned_at = :was_returned_at)"
_OPEN = {"pending": ShardState.PENDING, "running": ShardState.RUNNING}
RETURNS_KEPT = 16


def job_row_key(job: str) -> Key:
    return "jobs", job


def _partition(job: str) -> str:
    return f"job#{job}"


def shard_row_key(job: str, number: int) -> Key:
    return _partition(job), f"shard#{number:05d}"


def new_generation(shard: ShardRecord) -> ShardRecord:
    """As registered: what earlier generations finished is counted from the start."""
    carried = dict(shard.carried)
    done, failed = carried.pop("done", 0), carried.pop("failed", 0)
    return replace(shard, done=done, failed=failed, counts=carried)


class Shards(Table):
    """Questions about and changes of shard rows."""

    def shards(self, job: str) -> Iterator[ShardRecord]:
        """All of a job, by number."""
        for row in self._query(_partition(job), "shard#"):
            yield from_row(ShardRecord, row)

    def shard(self, job: str, number: int) -> ShardRecord | None:
        row = self._get(shard_row_key(job, number))
        return from_row(ShardRecord, row) if row else None

    def some_shards(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], ShardRecord]:
        """Those of the named (job, number) that exist."""
        rows = self._get_many(shard_row_key(job, number) for job, number in places)
        records = [from_row(ShardRecord, row) for row in rows.values()]
        return {(record.job, record.number): record for record in records}

    def totals(self, job: str) -> Totals:
        """Sums over the job's shard rows: a query a few thousand shards."""
        rows = self._query(_partition(job), "shard#", only=_TOTALLED)
        return Totals.of(from_row(ShardRecord, {"job": job, "number": 0, **row}) for row in rows)

    def has_open_shards(self, job: str) -> bool:
        """Is any shard pending or running? Cheap until the end, as the last shards are the last to finish."""
        rows = self._query(_partition(job), "shard#", newest_first=True, page=25, only=("state",))
        return any(row["state"] in _OPEN.values() for row in rows)

    # --- registering ---

    def put_shards(self, shards: Iterable[ShardRecord]) -> int:
        """Register those that have no row yet, or one of an older generation; how many those were."""
        count = 0

        def writes() -> Iterator[Write]:
            nonlocal count
            for shard in shards:
                count += 1
                yield self._registration(shard)

        refused = self._write_each(writes())
        return count - len(refused)

    def _registration(self, shard: ShardRecord) -> Write:
        return Write(
            key=shard_row_key(shard.job, shard.number),
            put=to_row(new_generation(shard)),
            where=f"{ABSENT} OR #generation < :generation",
            values={"generation": shard.generation},
        )

    def mark_sent(self, job: str, number: int, generation: int) -> bool:
        """Its message was sent just now."""
        return self._change(job, number, generation, {"sent_at": self._clock()}, where=_IS_OPEN, values=_OPEN)

    def mark_all_sent(self, shards: Iterable[ShardRecord], *, at: float) -> int:
        """`mark_sent` for many, as they were before they were sent; those that failed and were returned meanwhile
        stay unsent. `at` is before the first was sent, so that no failure is older. How many were marked."""
        fields = {"sent_at": at}
        writes = [
            Write(
                key=shard_row_key(shard.job, shard.number),
                update=setting(fields),
                where=f"#generation = :generation AND {_IS_OPEN} AND {_IS_NOT_RETURNED}",
                values={**fields, "generation": shard.generation, "was_returned_at": shard.returned_at, **_OPEN},
            )
            for shard in shards
        ]
        return len(writes) - len(self._write_each(writes))

    # --- working ---

    def start_shard(
        self, job: str, number: int, generation: int, machine: str, *, alive_s: float = 0.0
    ) -> ShardRecord | None:
        """A worker begins: RUNNING, `started` one more.

        None where there is nothing to do: the shard is done, dead, cancelled or of another generation, or another
        machine gave a sign of life within the last `alive_s` seconds and this message is a second copy.
        """
        now = self._clock()
        fields = {"state": ShardState.RUNNING, "machine": machine, "progress": 0, "parts_done": 0, "parts": 0}
        fields |= {"started_at": now, "heartbeat_at": now}
        row = self._write(
            Write(
                key=shard_row_key(job, number),
                update=setting(fields, "ADD #started :one"),
                where=f"#generation = :generation AND {_IS_OPEN} AND {_IS_FREE}",
                values={**fields, "one": 1, "generation": generation, "stale": now - alive_s, **_OPEN},
            )
        )
        if row is None:
            return None
        self._job_is_running(job)
        return from_row(ShardRecord, row)

    def _job_is_running(self, job: str) -> None:
        fields = {"state": JobState.RUNNING, "reason": ""}
        waiting = {"held": JobState.HELD, "queued": JobState.PENDING, "stalled": JobState.STALLED}
        where = "#state IN (:held, :queued, :stalled)"
        self._write(Write(key=job_row_key(job), update=setting(fields), where=where, values={**fields, **waiting}))

    def heartbeat(
        self, job: str, number: int, generation: int, machine: str, progress: int, parts: tuple[int, int] = (0, 0)
    ) -> bool:
        """The worker lives. False: the shard is cancelled, finished, newer or another machine's; stop working on it."""
        fields = {"heartbeat_at": self._clock(), "progress": progress, "parts_done": parts[0], "parts": parts[1]}
        return self._change_own(job, number, generation, machine, fields)

    def release_shard(self, job: str, number: int, generation: int, machine: str, *, blame: bool) -> bool:
        """Given back by its worker, the message too. `blame=False` (spot notice, shutdown) does not count the start."""
        fields = {"state": ShardState.PENDING, "machine": "", "progress": 0, "sent_at": self._clock()}
        return self._change_own(job, number, generation, machine, fields, started=0 if blame else -1)

    def requeue_shard(self, shard: ShardRecord, *, sent: bool = True) -> bool:
        """Make a shard that shows no life PENDING, its message as if sent now, or not sent; False where it moved."""
        fields = {"sent_at": self._clock() if sent else 0.0}
        return self._put_back(shard, fields)

    def return_shard(self, shard: ShardRecord, by: str, *, reason: str, counts: bool) -> bool:
        """A notification `by` tells that the request for `shard`, as it was seen, failed: PENDING and unsent; what
        `counts` is one of its `failures`.

        False where it moved meanwhile. Whether the notification is known already says `shard.returned_by`.
        """
        fields = {
            "sent_at": 0.0,
            "returned_at": self._clock(),
            "returned_by": [*shard.returned_by, by][-RETURNS_KEPT:],
            "failures": shard.failures + int(counts),
            "reason": reason,
        }
        return self._put_back(shard, fields)

    def _put_back(self, shard: ShardRecord, changes: Row) -> bool:
        fields = {"state": ShardState.PENDING, "machine": "", "progress": 0, **changes}
        values: Row = {"was_sent_at": shard.sent_at, "was_started": shard.started, "was_returned_at": shard.returned_at}
        still = f"#sent_at = :was_sent_at AND #started = :was_started AND {_IS_OPEN} AND {_IS_NOT_RETURNED}"
        if shard.heartbeat_at is not None:
            still += " AND #heartbeat_at = :was_heartbeat_at"
            values["was_heartbeat_at"] = shard.heartbeat_at
        values |= _OPEN
        return self._change(*shard.place, fields, where=still, values=values)

    def count_result(self, result: ShardResult) -> bool:
        """Project a commit of S3 onto its shard's row, adding what the row carries over from earlier generations.

        Overrules DEAD and CANCELLED, because what is committed is visible. Repeating it changes nothing. False where
        the row is missing or of a newer generation.
        """
        job, number, generation = result.place
        row = self.shard(job, number)
        if row is None or row.generation > generation:
            return False
        carried = dict(row.carried) if row.generation == generation else {}
        done, failed, counts = len(result.items), len(result.failures), result.counts
        names = {*counts, *carried} - {"done", "failed"}
        fields = {
            "state": ShardState.DONE,
            "done": done + carried.get("done", 0),
            "failed": failed + carried.get("failed", 0),
            "counts": {name: counts.get(name, 0) + carried.get(name, 0) for name in sorted(names)},
            "seconds": dict(result.timings),
            "engine": result.made_by,
            "machine": result.machine,
            "generation": generation,
            "progress": done + failed,
            "reason": "",
        }
        write = Write(
            key=shard_row_key(job, number),
            update=setting(fields, ", #finished_at = if_not_exists(#finished_at, :now)"),
            where="#generation = :known",
            values={**fields, "now": self._clock(), "known": row.generation},
        )
        return self._write(write) is not None

    def _mark_dead(self, place: Place, reason: str) -> bool:
        """It will not be tried again: DEAD. False where it moved on."""
        fields = {"state": ShardState.DEAD, "finished_at": self._clock(), "reason": reason}
        return self._change(*place, fields, where=_IS_OPEN, values=_OPEN)

    def cancel_shards(self, job: str) -> int:
        """Everything pending or running -> CANCELLED; how many."""
        fields = {"state": ShardState.CANCELLED, "finished_at": self._clock()}
        still_open = [shard for shard in self.shards(job) if shard.is_open]
        refused = self._write_each(
            Write(
                key=shard_row_key(job, shard.number),
                update=setting(fields),
                where=f"{EXISTS} AND {_IS_OPEN}",
                values={**fields, **_OPEN},
            )
            for shard in still_open
        )
        return len(still_open) - len(refused)

    def _change_own(
        self, job: str, number: int, generation: int, machine: str, fields: Row, *, started: int = 0
    ) -> bool:
        """Change a running shard, if `machine` still runs it."""
        write = Write(
            key=shard_row_key(job, number),
            update=setting(fields, "ADD #started :change"),
            where="#generation = :generation AND #machine = :holder AND #state = :running",
            values={
                **fields,
                "change": started,
                "generation": generation,
                "holder": machine,
                "running": ShardState.RUNNING,
            },
        )
        return self._write(write) is not None

    def _change(self, job: str, number: int, generation: int, fields: Row, *, where: str, values: Row) -> bool:
        write = Write(
            key=shard_row_key(job, number),
            update=setting(fields),
            where=f"#generation = :generation AND {where}",
            values={**fields, "generation": generation, **values},
        )
        return self._write(write) is not None
