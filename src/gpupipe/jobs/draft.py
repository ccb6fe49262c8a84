"""Submissions that were begun: found again by what they are made of, from any machine, and started exactly once.

`jobs/drafts/<fingerprint>.json` names the job that a submission became. It is written before the first upload and
removed after the manifest; found again in between, the same job goes on. A marker whose job has its manifest is a
submission that was killed after its job had started: it is that job, not another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gpupipe.jobs import JobsContext
from gpupipe.jobs.sidecars import Sidecars
from gpupipe.jobs.sources import Input
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
"""An older draft is left alone: its job's name would tell a time that nobody remembers."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A submission on its way to a job."""

    fingerprint: str
    job: str
    created_at: float
    shard_items: int
    """Chosen once, so that two machines that resume the same draft cut it into the same shards."""
    is_resumed: bool = False
    is_started: bool = False
    """Its manifest is there: nothing is left to do."""


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


def open_draft(ctx: JobsContext, mark: str, *, project: str, shard_items: int, now: float) -> Draft:
    """The unfinished draft with this fingerprint, or a new one; a cancelled one is not gone on with."""
    found = _read(ctx, mark, project)
    if found is not None and now - found.created_at < DRAFT_LIVES_S:
        return found
    new = {"version": 1, "job": make_job_id(project, now), "created_at": now, "shard_items": shard_items}
    if found is not None:
        ctx.write(_key(mark), json.dumps(new))
    elif not ctx.write_new(_key(mark), json.dumps(new)):
        rival = _read(ctx, mark, project)
        if rival is not None:
            return rival
        ctx.write(_key(mark), json.dumps(new))
    return Draft(fingerprint=mark, job=str(new["job"]), created_at=now, shard_items=shard_items)


def forget_draft(ctx: JobsContext, mark: str) -> None:
    """Its job has started, or is cancelled: the next submission of the same is another job."""
    ctx.remove(_key(mark))


def _key(mark: str) -> str:
    return f"{JOBS}drafts/{mark}.json"


def _read(ctx: JobsContext, mark: str, project: str) -> Draft | None:
    text = ctx.read(_key(mark))
    if text is None:
        return None
    try:
        marker = json.loads(text)
        job, created_at, shard_items = marker["job"], float(marker["created_at"]), int(marker["shard_items"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    if not _can_be(job, project, shard_items) or _is_of_another(ctx, job, mark) or ctx.exists(cancelled_key(job)):
        return None
    return Draft(
        fingerprint=mark,
        job=job,
        created_at=created_at,
        shard_items=shard_items,
        is_resumed=True,
        is_started=ctx.exists(manifest_key(job)),
    )


def _can_be(job: object, project: str, shard_items: int) -> bool:
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
