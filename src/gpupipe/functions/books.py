"""Keeps the machines' books, so that cost and reasons outlive them; small steps, each safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence

from gpupipe.functions import log
from gpupipe.functions.bookkeeping import BeginRun, Change, EndRun, Forget, NewRecord, SetAlarm, changes
from gpupipe.functions.capacity import Capacity
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Instance
from gpuworker.ledger import Ledger


def keep_books(around: Surroundings, capacity: Capacity, existing: Sequence[Instance], *, looked_at: float) -> None:
    """Write down what became of machines since the guard `looked_at` them."""
    records = {record.machine: record for record in around.ledger.machines(around.settings.pipeline)}
    for change in changes(around.settings, existing, records, now=around.clock(), looked_at=looked_at):
        write_down(around.ledger, capacity, change)


def write_down(ledger: Ledger, capacity: Capacity, change: Change) -> None:
    """What fails is found again by the next look, and must not keep this one from stopping machines."""
    try:
        _write_down(ledger, capacity, change)
    except Exception as error:
        log.error("books_not_kept", error, change=type(change).__name__, machine=change.record.machine)


def _write_down(ledger: Ledger, capacity: Capacity, change: Change) -> None:
    match change:
        case NewRecord(record=record):
            ledger.put_machine(record)
        case BeginRun(record=record, at=at):
            ledger.begin_run(record, at)
        case EndRun(record=record, state=state, at=at, reason=reason, interrupted=interrupted):
            ledger.end_run(record, state, stopped_at=at, reason=reason, interrupted=interrupted)
            log.info("machine_off", machine=record.machine, state=state, reason=reason, shards=record.run_shards)
        case Forget(record=record):
            capacity.disarm(record.machine)
            ledger.forget_machine(record)
        case SetAlarm(record=record):
            capacity.arm(record)
            ledger.change_machine(record.pipeline, record.machine, alarmed=True)
