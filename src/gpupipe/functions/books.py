"""Keeps the machines' books, so that cost and reasons outlive them; small steps, each safe to repeat."""

from __future__ import annotations

from gpupipe.functions import log
from gpupipe.functions.backend import AnyBackend
from gpupipe.functions.changes import BeginRun, Change, EndRun, Forget, NewRecord, SetAlarm
from gpupipe.functions.context import AnyContext
from gpuworker.ledger import Ledger


def keep_books(ctx: AnyContext, backend: AnyBackend, *, looked_at: float) -> None:
    """Write down what became of machines since the guard `looked_at` them."""
    records = {record.machine: record for record in ctx.ledger.machines(ctx.settings.pipeline)}
    for change in backend.changes(records, looked_at=looked_at):
        write_down(ctx.ledger, backend, change)


def write_down(ledger: Ledger, backend: AnyBackend, change: Change) -> None:
    """What fails is found again by the next look, and must not keep this one from stopping machines."""
    try:
        _write_down(ledger, backend, change)
    except Exception as error:
        log.error("books_not_kept", error, change=type(change).__name__, machine=change.record.machine)


def _write_down(ledger: Ledger, backend: AnyBackend, change: Change) -> None:
    match change:
        case NewRecord(record=record):
            ledger.put_machine(record)
        case BeginRun(record=record, at=at):
            ledger.begin_run(record, at)
        case EndRun(record=record, state=state, at=at, reason=reason, interrupted=interrupted):
            ledger.end_run(record, state, stopped_at=at, reason=reason, interrupted=interrupted)
            log.info("machine_off", machine=record.machine, state=state, reason=reason, shards=record.run_shards)
        case Forget(record=record):
            backend.disarm(record.machine)
            ledger.forget_machine(record)
        case SetAlarm(record=record):
            backend.arm(record)
            ledger.change_machine(record.pipeline, record.machine, alarmed=True)
