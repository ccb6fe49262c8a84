"""Whose the content of a submission is: the last step before the start signal, so that the same images are one job.

Times of modification differ from machine to machine, and are all that a marker knows before anything is read. Once the
inputs are stored, their ETags say what they are. `jobs/drafts/started/<content>.json` names the job that starts with
this content; it is written, conditionally, after the last shard and before the manifest. Who finds another's claim
whose job is open gives way to it. A claim without a manifest is of one who was killed in between, or is slow: all that
the job needs is there, so whoever comes next writes that manifest, and nobody has to guess which of the two it was.

In a bucket encrypted with a KMS key ETags do not tell the content: there other times make another job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from gpupipe.errors import JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.assembly import Content, shards_of
from gpupipe.jobs.draft import ATTEMPTS, can_be
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.still_open import open_state
from gpuworker.contract import (
    JOBS,
    ContractError,
    JobSpec,
    Manifest,
    cancelled_key,
    job_key,
    manifest_key,
    read_shard,
    read_spec,
    shard_key,
)

READERS = 8


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job that starts, or has started, with certain content."""

    job: str
    shard_items: int
    state: str = ""
    """Of another submission's job: as `open_state` says; "" of our own."""


def claim_content(ctx: JobsContext, spec: JobSpec, content: Content, shard_items: int, *, again: bool) -> Claim:
    """Claim the content of `spec`'s job for it; else the open job that has it, which has its manifest afterwards.

    `again`: a new job also where another is open. Raises JobError where others replace the claim all the time.
    """
    ours = Claim(job=spec.job, shard_items=shard_items)
    text = json.dumps({"version": 1, "job": spec.job, "shard_items": shard_items})
    key = f"{JOBS}drafts/started/{content.digest(_about(spec))}.json"
    for _ in range(ATTEMPTS):
        found = ctx.read_tagged(key)
        theirs = None if found is None else _read(found[0], spec)
        if theirs is not None and theirs.job == spec.job:
            return ours
        if theirs is not None and not again and (theirs := _going_on(ctx, theirs, spec, content)):
            return theirs
        write = ctx.write_new if found is None else partial(ctx.write_over, etag=found[1])
        if write(key, text):
            return ours
    raise JobError(f"{key} was replaced {ATTEMPTS} times by others.", hint="Submit again.")


def _about(spec: JobSpec) -> str:
    told = {"pipeline": spec.pipeline, "project": spec.project, "task": spec.task, "options": spec.options}
    return json.dumps(told, sort_keys=True)


def _read(text: bytes, spec: JobSpec) -> Claim | None:
    try:
        told = json.loads(text)
        job, shard_items = told["job"], int(told["shard_items"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Claim(job=job, shard_items=shard_items) if can_be(job, spec.project, shard_items) else None


def _going_on(ctx: JobsContext, theirs: Claim, spec: JobSpec, content: Content) -> Claim | None:
    """Their job where it is open and what the claim says it is, started if it was not; else None."""
    if ctx.exists(cancelled_key(theirs.job)) or not _is_same(ctx, theirs, spec, content):
        return None
    if not ctx.exists(manifest_key(theirs.job)):
        shards = shards_of(content.items, theirs.shard_items)
        manifest = Manifest(job=theirs.job, pipeline=spec.pipeline, project=spec.project, shards=shards)
        ctx.write_new(manifest_key(theirs.job), manifest.to_json())
    state = open_state(ctx, theirs.job)
    return Claim(job=theirs.job, shard_items=theirs.shard_items, state=state) if state else None


def _is_same(ctx: JobsContext, theirs: Claim, spec: JobSpec, content: Content) -> bool:
    """Do their job's own documents ask for the same of the same? A claim may be damaged, or somebody else's."""
    numbers = [int(number) for number in shards_of(content.items, theirs.shard_items)]
    try:
        told = read_spec(ctx.read(job_key(theirs.job)) or b"", job=theirs.job, pipeline=ctx.pipeline)
        found = _content_of(ctx, theirs.job, spec, numbers)
    except ContractError:
        return False
    return (_about(told), found.items, found.total) == (_about(spec), content.items, content.total)


def _content_of(ctx: JobsContext, job: str, spec: JobSpec, numbers: Sequence[int]) -> Content:
    def read(number: int) -> Content:
        text = ctx.read(shard_key(job, number)) or b""
        shard = read_shard(text, place=(job, number, 0), pipeline=ctx.pipeline, project=spec.project)
        return Content.of(shard.items)

    whole = Content()
    with closing(concurrently(numbers, read, threads=READERS)) as answers:
        for _, answer in answers:
            if isinstance(answer, Exception):
                raise answer
            whole += answer
    return whole
