"""What the guard knows: its lease, its last look, what a person told it, and every machine it started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuworker.ledger.records import MACHINE_UP, MachineRecord, MachineState, Run, seconds_by_month
from gpuworker.ledger.rows import from_row, to_row
from gpuworker.ledger.table import EXISTS, Key, Row, Table, Write, setting

NEXT = "#next"
"""After a pipeline's name: the lease of the one look that waits until the present one ends."""
RUNS_KEPT = 5
NO_GPU: Mapping[str, Any] = {}
RECORD_KEPT_S = 400 * 86_400.0
"""A terminated machine's record outlives every monthly bill it is part of."""


def _guard_key(pipeline: str, what: str) -> Key:
    return f"guard#{pipeline}", what


def _seal_key(pipeline: str, name: str) -> Key:
    return f"kept#{pipeline}", name


def _machine_key(pipeline: str, machine: str) -> Key:
    return f"machines#{pipeline}", machine


class Machines(Table):
    """The guard's rows."""

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew the lease `name`; False while somebody else holds it."""
        now = self._clock()
        fields = {"holder": holder, "until": now + seconds}
        where = "attribute_not_exists(#until) OR #until < :now OR #holder = :holder"
        write = Write(key=_guard_key(name, "lease"), update=setting(fields), where=where, values={**fields, "now": now})
        return self._write(write) is not None

    def release_lease(self, name: str, holder: str) -> bool:
        """Give the lease back, if it is still `holder`'s."""
        gone = Write(key=_guard_key(name, "lease"), delete=True, where="#holder = :holder", values={"holder": holder})
        return self._write(gone) is not None

    def end_leases(self, pipeline: str) -> None:
        """Free the guard's leases, whoever holds them: for those who know that the holders are dead."""
        for name in (pipeline, f"{pipeline}{NEXT}"):
            self._write(Write(key=_guard_key(name, "lease"), delete=True))

    def put_guard_status(self, pipeline: str, status: Mapping[str, Any]) -> None:
        """The last look: what is wanted, what exists, and why it waits."""
        self._write(Write(key=_guard_key(pipeline, "status"), put={"status": status}))

    def guard_status(self, pipeline: str) -> Mapping[str, Any]:
        """The last look; empty before the first."""
        row: Row = self._get(_guard_key(pipeline, "status")) or {}
        return dict(row.get("status", {}))

    def control(self, pipeline: str) -> Mapping[str, Any]:
        """What a person told the guard: `paused`."""
        row = self._get(_guard_key(pipeline, "control")) or {}
        return {name: value for name, value in row.items() if name not in ("pk", "sk")}

    def set_control(self, pipeline: str, **fields: Any) -> None:
        self._write(Write(key=_guard_key(pipeline, "control"), update=setting(fields), values=fields))

    # --- what engines keep ---

    def seal(self, pipeline: str, name: str) -> str:
        """The SHA-256 of what a worker has kept in the bucket under `name`; "" where none has."""
        return str((self._get(_seal_key(pipeline, name)) or {}).get("sha256", ""))

    def put_seal(self, pipeline: str, name: str, sha256: str) -> None:
        self._write(Write(key=_seal_key(pipeline, name), put={"sha256": sha256}))

    # --- machines ---

    def machines(self, pipeline: str) -> list[MachineRecord]:
        """Every machine that is remembered, gone ones included."""
        return [from_row(MachineRecord, row) for row in self._query(f"machines#{pipeline}")]

    def machine(self, pipeline: str, machine: str) -> MachineRecord | None:
        row = self._get(_machine_key(pipeline, machine))
        return from_row(MachineRecord, row) if row else None

    def put_machine(self, record: MachineRecord) -> None:
        """Write the whole record; for one that exists already use the changes below, which lose nobody's counts."""
        self._write(Write(key=_machine_key(record.pipeline, record.machine), put=to_row(record)))

    def change_machine(self, pipeline: str, machine: str, **fields: Any) -> bool:
        """Set single fields; False where the machine is unknown."""
        write = Write(key=_machine_key(pipeline, machine), update=setting(fields), where=EXISTS, values=fields)
        return self._write(write) is not None

    def machine_seen(
        self,
        pipeline: str,
        machine: str,
        *,
        shards_committed: int = 0,
        state: str = MachineState.RUNNING,
        gpu: Mapping[str, Any] = NO_GPU,
    ) -> bool:
        """Its worker speaks, and tells `MachineRecord`'s fields of the GPU (`Gauge.take_fields`).

        False where the machine is not known (yet) or has been seen to be gone.
        """
        fields = {"last_seen_at": self._clock(), "state": MachineState(state), **gpu}
        write = Write(
            key=_machine_key(pipeline, machine),
            update=setting(fields, "ADD #run_shards :more"),
            where=f"{EXISTS} AND #state IN (:up_launched, :up_running, :up_interrupted)",
            values={**fields, "more": shards_committed, **{f"up_{up.value}": up for up in MACHINE_UP}},
        )
        return self._write(write) is not None

    def worker_gave_up(self, pipeline: str, machine: str, reason: str, *, hopeless: bool) -> bool:
        """Its worker could not begin, and why; False where the machine is unknown."""
        return self.change_machine(pipeline, machine, reason=reason, hopeless=hopeless)

    def begin_run(self, record: MachineRecord, started_at: float) -> bool:
        """A stopped machine runs again; False where that is known already."""
        fields: Row = {"state": MachineState.LAUNCHED, "run_started_at": started_at, "run_shards": 0, "reason": ""}
        fields |= {"alarmed": False, "excused": False, "hopeless": False, "gpu_memory_bytes": 0}
        write = Write(
            key=_machine_key(record.pipeline, record.machine),
            update=setting(fields, "REMOVE #last_seen_at, #stopped_at, #gpu_utilisation"),
            where="#state = :stopped",
            values={**fields, "stopped": MachineState.STOPPED},
        )
        return self._write(write) is not None

    def end_run(
        self, record: MachineRecord, state: MachineState, *, stopped_at: float, reason: str, interrupted: bool = False
    ) -> bool:
        """A run is over, for now (STOPPED) or for good (TERMINATED): bill it once, and remember how it went."""
        present = self.machine(record.pipeline, record.machine) or record
        run = Run(
            started_at=record.run_started_at,
            stopped_at=stopped_at,
            shards=present.run_shards,
            reason=reason,
            interrupted=interrupted or present.excused or present.state is MachineState.INTERRUPTED,
            hopeless=present.hopeless,
        )
        fields: Row = {
            "state": state,
            "stopped_at": stopped_at,
            "reason": reason,
            "seconds_by_month": _billed(record, stopped_at),
            "runs": [vars(old) for old in (*record.runs, run)][-RUNS_KEPT:],
        }
        write = Write(
            key=_machine_key(record.pipeline, record.machine),
            update=setting(fields),
            where="#run_started_at = :this_run AND #state IN (:up_launched, :up_running, :up_interrupted)",
            values={**fields, "this_run": record.run_started_at, **{f"up_{up.value}": up for up in MACHINE_UP}},
        )
        return self._write(write) is not None

    def forget_machine(self, record: MachineRecord) -> bool:
        """It is gone for good, and so is all that belonged to it; the record is kept for the bill."""
        fields = {"state": MachineState.TERMINATED, "alarmed": False, "expires_at": int(self._clock() + RECORD_KEPT_S)}
        return self.change_machine(record.pipeline, record.machine, **fields)


def _billed(record: MachineRecord, stopped_at: float) -> dict[str, float]:
    billed = dict(record.seconds_by_month)
    for month, seconds in seconds_by_month(record.run_started_at, stopped_at).items():
        billed[month] = billed.get(month, 0.0) + seconds
    return billed
