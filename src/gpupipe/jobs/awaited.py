"""Jobs whose results a command still waits for: `run` is stopped and its job ends, and the same command brings them.

`jobs/drafts/awaited/<job>.json` is there from the start of the job until its results are fetched, by whichever command,
and counts for some days. A submission of the same is that job meanwhile, though it is over, so that nothing is paid
twice for a lost connection in the last minute.
"""

from __future__ import annotations

import json
import math
import time

from gpupipe.jobs import JobsContext
from gpuworker.contract import JOBS

COUNTS_S = 7 * 86_400.0
"""Who has not come back by then has forgotten it, and asks for something new; by this machine's clock."""


def awaits(ctx: JobsContext, job: str) -> None:
    """From now on the results of this job are waited for."""
    ctx.write(_key(job), json.dumps({"version": 1, "job": job, "at": time.time()}))


def brought(ctx: JobsContext, job: str) -> None:
    """They are there: nobody waits any more. Who may only read deletes nothing that is not there."""
    if ctx.exists(_key(job)):
        ctx.remove(_key(job))


def is_awaited(ctx: JobsContext, job: str) -> bool:
    """Does somebody still wait for its results? A mark that cannot be read says no."""
    try:
        at = float(json.loads(ctx.read(_key(job)) or b"{}")["at"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False
    return math.isfinite(at) and abs(time.time() - at) < COUNTS_S


def _key(job: str) -> str:
    return f"{JOBS}drafts/awaited/{job}.json"
