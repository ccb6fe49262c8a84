"""One look of the guard: keep the books, see what is, decide, act, and say why anything waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.acting import Acting
from gpupipe.functions.actions import Waiting
from gpupipe.functions.books import keep_books
from gpupipe.functions.capacity import Capacity
from gpupipe.functions.decide import decide
from gpupipe.functions.fleet import Fleet
from gpupipe.functions.hosted import Hosted
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.sending import way_of
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.view import Instance, JobView, View

REFUSALS_KEPT_S = 3600.0
REFUSALS_MAX = 50
CAPACITIES: Mapping[str, Callable[[Surroundings], Capacity]] = {"queue": Fleet, "endpoint": Hosted}
"""By kind of pipeline."""


def look(around: Surroundings, *, is_alone: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Bring jobs and machines to where they should be; the status document that `watch` and `status` show.

    `is_alone` is asked before anything is done: a look that was held up may have been given up for dead, and another be
    at it.
    """
    before = around.ledger.guard_status(around.settings.pipeline)
    control = around.ledger.control(around.settings.pipeline)
    capacity = CAPACITIES[around.settings.kind](around)
    existing = capacity.instances()
    keep_books(around, capacity, existing, looked_at=float(before.get("at", 0.0)))
    view = capacity.completed(_see(around, existing, control))
    decision = decide(view)
    if not is_alone():
        log.warning("look_given_up", actions=[type(action).__name__ for action in decision.actions])
        return {**before, "skipped": True}
    acting = Acting(around, capacity, view)
    acting.carry_out(decision.actions)
    learnt = [*acting.waiting, *capacity.waiting]
    waiting = [*learnt, *(one for one in decision.waiting if one.code != "ok" or not learnt)]
    status = _status(view, capacity, before, decision.wanted, waiting)
    around.ledger.put_guard_status(around.settings.pipeline, status)
    if _gist(status) != _gist(before):  # once a minute the same words would drown everything else
        log.info("look", **{name: status[name] for name in ("wanted", "existing", "pending_items", "waiting")})
    return status


# --- seeing ---


def _see(around: Surroundings, existing: Sequence[Instance], control: Mapping[str, Any]) -> View:
    settings, ledger = around.settings, around.ledger
    jobs = [
        JobView(record=record, shards=tuple(ledger.shards(record.job)))
        for record in ledger.active_jobs(settings.pipeline)
    ]
    return View(
        now=around.clock(),
        settings=settings,
        jobs=jobs,
        queue_messages=or_else(None, lambda: way_of(around.settings).waiting(around)) if jobs else 0,
        instances=existing,
        records={record.machine: record for record in ledger.machines(settings.pipeline)},
        paused=bool(control.get("paused")),
        start_asked_at=float(control.get("start_asked_at", 0.0)),
    )


# --- telling ---


def _gist(status: Mapping[str, Any]) -> tuple[Any, ...]:
    codes = [one["code"] for one in status.get("waiting", ())]
    return status.get("wanted"), status.get("existing"), codes


def _status(
    view: View, capacity: Capacity, before: Mapping[str, Any], wanted: int, waiting: Sequence[Waiting]
) -> dict[str, Any]:
    pending = [job.oldest_pending_at for job in view.jobs if job.oldest_pending_at]
    refusals = [asdict(refusal) for refusal in capacity.refusals]
    if not refusals and wanted > view.existing + capacity.added:
        refusals = [one for one in before.get("refusals", ()) if view.now - one["at"] < REFUSALS_KEPT_S]
    return {
        "at": view.now,
        "wanted": wanted,
        "existing": view.existing + capacity.added,
        "pending_items": sum(job.totals.pending for job in view.jobs),
        "oldest_pending_at": min(pending, default=None),
        "waiting": [asdict(one) for one in waiting],
        "refusals": refusals[:REFUSALS_MAX],
        "month_usd": round(view.month_usd, 4),
        **capacity.status(view),
    }
