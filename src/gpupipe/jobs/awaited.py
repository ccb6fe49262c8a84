"""Jobs whose results a command still waits for: `run` is stopped and its job ends, and the same command brings them.

`jobs/drafts/awaited/<job>.json` is there from the start of the job until its results are fetched. A submission of the
same is that job meanwhile, though it is over, so that nothing is paid twice for a lost connection in the last minute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from gpupipe.jobs import JobsContext
from gpuworker.contract import JOBS


@contextmanager
def awaited(ctx: JobsContext, job: str) -> Iterator[None]:
    """Mark a job as one whose results are waited for; if the block ends well they are there, and the mark goes."""
    ctx.write(_key(job), json.dumps({"version": 1, "job": job}))
    yield
    ctx.remove(_key(job))


def is_awaited(ctx: JobsContext, job: str) -> bool:
    """Does somebody still wait for its results?"""
    return ctx.exists(_key(job))


def _key(job: str) -> str:
    return f"{JOBS}drafts/awaited/{job}.json"
