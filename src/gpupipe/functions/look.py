"""One look of the guard: keep the books, see what is, decide, act, and say why anything waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from gpupipe.functions import log, machines
from gpupipe.functions.acting import Acting, keep_books
from gpupipe.functions.actions import Waiting
from gpupipe.functions.decide import decide
from gpupipe.functions.machines import Template
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Instance, JobView, View

T = TypeVar("T")

REFUSALS_KEPT_S = 3600.0
REFUSALS_MAX = 50
UNKNOWN_MANY = 10**9


def look(around: Surroundings) -> dict[str, Any]:
    """Bring jobs and machines to where they should be; the status document that `watch` and `status` show."""
    before = around.ledger.guard_status(around.settings.pipeline)
    control = around.ledger.control(around.settings.pipeline)
    existing = machines.instances(around)
    keep_books(around, existing, looked_at=float(before.get("at", 0.0)))
    view, made_from = _see(around, existing, control)
    decision = decide(view)
    acting = Acting(around, view, made_from)
    acting.carry_out(decision.actions)
    waiting = [*acting.waiting, *(one for one in decision.waiting if one.code != "ok" or not acting.waiting)]
    status = _status(view, acting, before, decision.wanted, waiting)
    around.ledger.put_guard_status(around.settings.pipeline, status)
    if _gist(status) != _gist(before):  # once a minute the same words would drown everything else
        log.info("look", **{name: status[name] for name in ("wanted", "existing", "pending_items", "waiting")})
    return status


# --- seeing ---


def _see(
    around: Surroundings, existing: Sequence[Instance], control: Mapping[str, Any]
) -> tuple[View, Template | None]:
    settings, ledger = around.settings, around.ledger
    jobs = [
        JobView(record=record, shards=tuple(ledger.shards(record.job)))
        for record in ledger.active_jobs(settings.pipeline)
    ]
    asked_at = float(control.get("start_asked_at", 0.0))
    made_from = _or_else(None, lambda: machines.template(around)) if jobs or asked_at else None
    view = View(
        now=around.clock(),
        settings=settings,
        jobs=jobs,
        # Where the queue cannot be asked, no message counts as lost.
        queue_messages=_or_else(UNKNOWN_MANY, lambda: _messages(around)) if jobs else 0,
        instances=existing,
        records={record.machine: record for record in ledger.machines(settings.pipeline)},
        template=made_from.fingerprint if made_from else "",
        paused=bool(control.get("paused")),
        start_asked_at=asked_at,
    )
    return view, made_from


def _or_else(otherwise: T, ask: Callable[[], T]) -> T:
    """An answer that a look can do without: machines must be stopped in time whatever else fails."""
    try:
        return ask()
    except Exception as error:
        log.error("guard_sees_less", error)
        return otherwise


def _messages(around: Surroundings) -> int:
    names = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]
    answer = around.sqs.get_queue_attributes(QueueUrl=around.settings.work_queue_url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


# --- telling ---


def _gist(status: Mapping[str, Any]) -> tuple[Any, ...]:
    codes = [one["code"] for one in status.get("waiting", ())]
    return status.get("wanted"), status.get("existing"), codes


def _status(
    view: View, acting: Acting, before: Mapping[str, Any], wanted: int, waiting: Sequence[Waiting]
) -> dict[str, Any]:
    pending = [job.oldest_pending_at for job in view.jobs if job.oldest_pending_at]
    refusals = [asdict(refusal) for refusal in acting.refusals]
    if not refusals and wanted > view.existing + acting.added:
        refusals = [one for one in before.get("refusals", ()) if view.now - one["at"] < REFUSALS_KEPT_S]
    return {
        "at": view.now,
        "wanted": wanted,
        "existing": view.existing + acting.added,
        "pending_items": sum(job.totals.pending for job in view.jobs),
        "oldest_pending_at": min(pending, default=None),
        "waiting": [asdict(one) for one in waiting],
        "refusals": refusals[:REFUSALS_MAX],
        "month_usd": round(view.month_usd, 4),
    }
