"""One look of the guard: keep the books, see what is, decide, act, and say why anything waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.acting import Acting
from gpupipe.functions.actions import Waiting
from gpupipe.functions.backend import AnyBackend
from gpupipe.functions.books import keep_books
from gpupipe.functions.context import AnyContext
from gpupipe.functions.decide import decide
from gpupipe.functions.otherwise import or_else
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.view import AnyView, Facts, JobView

REFUSALS_KEPT_S = 3600.0
REFUSALS_MAX = 50


def reconcile(ctx: AnyContext, backend: AnyBackend, *, is_alone: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Bring jobs and machines to where they should be; the status document that `watch` and `status` show.

    `is_alone` is asked before anything is done: a look that was held up may have been given up for dead, and another be
    at it.
    """
    before = ctx.ledger.guard_status(ctx.settings.pipeline)
    control = ctx.ledger.control(ctx.settings.pipeline)
    backend.observe()
    keep_books(ctx, backend, looked_at=float(before.get("at", 0.0)))
    view: AnyView = backend.view(_facts(ctx, control))
    decision = decide(view, backend.decide)
    if not is_alone():
        log.warning("look_given_up", actions=[type(action).__name__ for action in decision.actions])
        return {**before, "skipped": True}
    acting = Acting(ctx, backend, view)
    acting.carry_out(decision.actions)
    learnt = [*acting.waiting, *backend.waiting]
    waiting = [*learnt, *(one for one in decision.waiting if one.code != "ok" or not learnt)]
    status = _status(view, backend, before, decision.wanted, waiting)
    ctx.ledger.put_guard_status(ctx.settings.pipeline, status)
    if _gist(status) != _gist(before):  # once a minute the same words would drown everything else
        log.info("look", **{name: status[name] for name in ("wanted", "existing", "pending_items", "waiting")})
    return status


# --- seeing ---


def _facts(ctx: AnyContext, control: Mapping[str, Any]) -> Facts[FunctionSettings]:
    settings, ledger = ctx.settings, ctx.ledger
    jobs = [
        JobView(record=record, shards=tuple(ledger.shards(record.job)))
        for record in ledger.active_jobs(settings.pipeline)
    ]
    return Facts(
        now=ctx.clock(),
        settings=settings,
        delivery=ctx.transport.delivery,
        jobs=jobs,
        queue_messages=or_else(None, ctx.transport.count) if jobs else 0,
        records={record.machine: record for record in ledger.machines(settings.pipeline)},
        paused=bool(control.get("paused")),
        start_asked_at=float(control.get("start_asked_at", 0.0)),
    )


# --- telling ---


def _gist(status: Mapping[str, Any]) -> tuple[Any, ...]:
    codes = [one["code"] for one in status.get("waiting", ())]
    return status.get("wanted"), status.get("existing"), codes


def _status(
    view: AnyView, backend: AnyBackend, before: Mapping[str, Any], wanted: int, waiting: Sequence[Waiting]
) -> dict[str, Any]:
    pending = [job.oldest_pending_at for job in view.jobs if job.oldest_pending_at]
    refusals = [asdict(refusal) for refusal in backend.refusals]
    if not refusals and wanted > view.existing + backend.added:
        refusals = [one for one in before.get("refusals", ()) if view.now - one["at"] < REFUSALS_KEPT_S]
    return {
        "at": view.now,
        "wanted": wanted,
        "existing": view.existing + backend.added,
        "pending_items": sum(job.totals.pending for job in view.jobs),
        "oldest_pending_at": min(pending, default=None),
        "waiting": [asdict(one) for one in waiting],
        "refusals": refusals[:REFUSALS_MAX],
        "month_usd": round(view.month_usd, 4),
        **backend.describe(view),
    }
