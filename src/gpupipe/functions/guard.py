"""Lambda `guard`: the only thing that starts machines. Run every minute by a schedule, and woken by dispatch.

Level-triggered: each look computes from the ledger and EC2 what is wanted and what exists, and acts on the difference,
so that a crash at any point, a lost event or a machine gone by itself is healed by the next look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.backend import AnyBackend
from gpupipe.functions.context import AnyContext
from gpupipe.functions.lease import LEASE_S, renewing
from gpupipe.functions.reconcile import reconcile
from gpuworker.ledger.machines import NEXT

PATIENCE_S = 20.0
"""How long a look waits for another to end; what it came for may have come too late for that one."""
MARGIN_S = 5.0


def guard(
    ctx: AnyContext, backend: AnyBackend, event: Mapping[str, Any], *, holder: str, left_s: float
) -> dict[str, Any]:
    """Note what a person asks for, then look, one at a time; the status document.

    `{}` looks; `{"action": "start"}` wakes held and stalled jobs and starts a machine; `{"action": "stop"}` stops all
    machines until the next start, their work going back to the queue.
    """
    _note(ctx, str(event.get("action", "")))
    ledger, pipeline = ctx.ledger, ctx.settings.pipeline
    if not _get_in(ctx, holder, left_s):
        log.info("look_left_to_another")
        return {**ledger.guard_status(pipeline), "skipped": True}
    with renewing(ctx.leases, pipeline, holder):
        return reconcile(ctx, backend, is_alone=lambda: ctx.leases.acquire_lease(pipeline, holder, LEASE_S))


def _get_in(ctx: AnyContext, holder: str, left_s: float) -> bool:
    """Wait for a look that is under way to end: it may have begun too early to see what this one came for.

    Only one waits. Others leave it to that one, or a burst of uploads would fill a new account's ten functions at once.
    """
    ledger, pipeline = ctx.ledger, ctx.settings.pipeline
    lease_s = PATIENCE_S + MARGIN_S
    if ledger.acquire_lease(pipeline, holder, LEASE_S):
        return True
    if not ledger.acquire_lease(f"{pipeline}{NEXT}", holder, lease_s):
        return False
    deadline = time.monotonic() + min(PATIENCE_S, left_s / 3)
    try:
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if ledger.acquire_lease(pipeline, holder, LEASE_S):
                return True
        return False
    finally:
        ledger.release_lease(f"{pipeline}{NEXT}", holder)


def _note(ctx: AnyContext, action: str) -> None:
    """Write a person's wish down before anything else: whichever look comes next obeys it."""
    ledger, pipeline = ctx.ledger, ctx.settings.pipeline
    if action == "stop":
        ledger.set_control(pipeline, paused=True, start_asked_at=0.0)
        log.info("stop_asked")
    elif action == "start":
        ledger.set_control(pipeline, paused=False, start_asked_at=ctx.clock())
        woken = [job.job for job in ledger.active_jobs(pipeline) if ledger.wake_job(job.job)]
        log.info("start_asked", woken=woken)
