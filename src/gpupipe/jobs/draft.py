"""Submissions, found again by what they are made of, from any machine, and started exactly once.

`jobs/drafts/<fingerprint>.json`, the marker, names the job that a submission became. It is written before the first
upload and stays. Found again before that job has its manifest, the same job goes on uploading; found while the job is
open, the submission is that job; once the job is over, the marker is replaced by one of a new job. Each replacement is
conditional on what was read, so of many at once one makes the job and the others find it. Where times of modification
differ there is another marker, and the claim on the content decides (`gpupipe.jobs.claim`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from gpupipe.errors import JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.sidecars import Sidecars
from gpupipe.jobs.sources import Input
from gpupipe.jobs.still_open import open_state
from gpuworker.contract import (
    JOBS,
    MAX_SHARD_ITEMS,
    ContractError,
    cancelled_key,
    is_job_name,
    job_key,
    make_job_id,
    manifest_key,
    read_spec,
)

DRAFT_LIVES_S = 7 * 86_400.0
"""An older draft is left alone: its job's name would tell a time that nobody remembers. A job has no such age."""
ATTEMPTS = 10
"""A marker that was replaced meanwhile names a draft, and is gone on with at the next look; S3 may refuse for less."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A submission on its way to a job."""

    fingerprint: str
    job: str
    created_at: float
    shard_items: int
    """Chosen once, so that two machines that resume the same draft cut it into the same shards."""
    is_resumed: bool = False
    state: str = ""
    """Of a job that has started and is open: as `open_state` says; nothing is left to do."""
    replaces: str = ""
    """The job that this very submission became before, which is over."""

    @property
    def is_started(self) -> bool:
        return bool(self.state)


def fingerprint(about: Mapping[str, Any], files: Iterable[Input], sidecars: Sidecars = MappingProxyType({})) -> str:
    """Of pipeline, project, task and options (`about`), of the paths, sizes and times of the sorted inputs, and of
    what lies beside them.
    """
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for file in files:
        digest.update(f"\n{file.path}\0{file.size}\0{file.stamp}".encode())
        if file.path in sidecars:
            digest.update(f"\0{json.dumps(sidecars[file.path], sort_keys=True)}".encode())
    return digest.hexdigest()


def open_draft(
    ctx: JobsContext, mark: str, *, project: str, shard_items: int, now: float, again: bool = False
) -> Draft:
    """What became of this submission and is not over, or a new draft; `again`: a new one also where its job is open.

    Raises JobError where others replace the marker all the time.
    """
    new = {"version": 1, "job": make_job_id(project, now), "created_at": now, "shard_items": shard_items}
    for _ in range(ATTEMPTS):
        marker = ctx.read_tagged(_key(mark))
        found = None if marker is None else _read(ctx, marker[0], mark, project)
        if found is not None and _is_of_use(found, now, again=again):
            return found
        write = ctx.write_new if marker is None else partial(ctx.write_over, etag=marker[1])
        if write(_key(mark), json.dumps(new)):
            replaces = found.replaces if found else ""
            return Draft(
                fingerprint=mark, job=str(new["job"]), created_at=now, shard_items=shard_items, replaces=replaces
            )
    raise JobError(f"{_key(mark)} was replaced {ATTEMPTS} times by others.", hint="Submit again.")


def _key(mark: str) -> str:
    return f"{JOBS}drafts/{mark}.json"


def _is_of_use(found: Draft, now: float, *, again: bool) -> bool:
    if found.replaces:
        return False
    return not again if found.is_started else now - found.created_at < DRAFT_LIVES_S


def _read(ctx: JobsContext, text: bytes, mark: str, project: str) -> Draft | None:
    """What a marker tells; with `replaces` where its job is over, and None where it cannot be gone on with."""
    try:
        marker = json.loads(text)
        job, created_at, shard_items = marker["job"], float(marker["created_at"]), int(marker["shard_items"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    if not can_be(job, project, shard_items) or _is_of_another(ctx, job, mark):
        return None
    is_started = ctx.exists(manifest_key(job))
    if not is_started and ctx.exists(cancelled_key(job)):
        return None
    state = open_state(ctx, job) if is_started else ""
    return Draft(
        fingerprint=mark,
        job=job,
        created_at=created_at,
        shard_items=shard_items,
        is_resumed=not is_started,
        state=state,
        replaces=job if is_started and not state else "",
    )


def can_be(job: object, project: str, shard_items: int) -> bool:
    """Could a submission of this project have become a job of that name, in shards of that size?"""
    named = isinstance(job, str) and is_job_name(job) and f"-{project}-" in job
    return named and 1 <= shard_items <= MAX_SHARD_ITEMS


def _is_of_another(ctx: JobsContext, job: str, mark: str) -> bool:
    """Does the job that a marker names say itself that it is another submission? To go on with it would overwrite it.

    One that was killed before it wrote its job.json says nothing yet.
    """
    text = ctx.read(job_key(job))
    if text is None:
        return False
    try:
        return read_spec(text, job=job, pipeline=ctx.pipeline).fingerprint != mark
    except ContractError:
        return True
