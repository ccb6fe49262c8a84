"""A job's documents in S3, as far as a ledger can be rebuilt from them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpuworker.contract import (
    JOBS,
    ContractError,
    JobSpec,
    Shard,
    ShardResult,
    job_key,
    manifest_key,
    parse_result_key,
    read_manifest,
    read_result,
    read_shard,
    read_spec,
    result_key,
    retries_prefix,
    shard_key,
)

_MANIFEST = re.compile(r"(?:retries/([1-9]\d{0,8})/)?manifest\.json")
_SHARD = re.compile(r"shards/(\d{5,})\.json")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A shard that the ledger should know, in this generation or a newer one."""

    number: int
    generation: int = 0
    items: int = 0
    """As its manifest says; 0 where there is no manifest yet."""

    @property
    def place(self) -> tuple[int, int]:
        return self.number, self.generation


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What there is of one job. Times are S3's, in Unix seconds."""

    spec: JobSpec
    manifests: Mapping[int, float]
    """When each generation was started."""
    shards: Sequence[int]
    """Numbers of the shards of generation 0, rising."""
    commits: Collection[tuple[int, int]]
    """(number, generation)."""
    cancelled_at: float | None = None

    @property
    def is_cancelled_whole(self) -> bool:
        """Was it cancelled, and not sent again since?"""
        return self.cancelled_at is not None and self.cancelled_at >= max(self.manifests.values(), default=0.0)

    def is_cancelled(self, one: Wanted) -> bool:
        """Was a shard cancelled after it was sent?"""
        return self.cancelled_at is not None and self.cancelled_at >= self.manifests.get(one.generation, 0.0)

    def wanted(self, ctx: JobsContext) -> Sequence[Wanted]:
        """What the manifests name, each shard in its newest generation. Raises ContractError."""
        newest: dict[int, Wanted] = {}
        for generation in sorted(self.manifests):
            text = ctx.read(manifest_key(self.spec.job, generation)) or b""
            manifest = read_manifest(
                text, job=self.spec.job, generation=generation, pipeline=ctx.pipeline, project=self.spec.project
            )
            for number, items in manifest.shards.items():
                newest[int(number)] = Wanted(number=int(number), generation=generation, items=items)
        return list(newest.values())


def newest_retry(ctx: JobsContext, job: str) -> int:
    """The newest generation that a job was started in."""
    return max((int(name) for name in ctx.folders(retries_prefix(job)) if name.isdecimal()), default=0)


def documents_of(ctx: JobsContext, job: str) -> Documents | None:
    """None where nobody wrote down what was asked for. Raises ContractError."""
    text = ctx.read(job_key(job))
    if text is None:
        return None
    manifests: dict[int, float] = {}
    shards: list[int] = []
    commits: set[tuple[int, int]] = set()
    cancelled_at = None
    for name, at in _listed(ctx, f"{JOBS}{job}/"):
        if manifest := _MANIFEST.fullmatch(name):
            manifests[int(manifest[1] or 0)] = at
        elif shard := _SHARD.fullmatch(name):
            shards.append(int(shard[1]))
        elif name.startswith("results/"):
            with contextlib.suppress(ContractError):  # nothing of ours
                commits.add(parse_result_key(name))
        elif name == "cancelled":
            cancelled_at = at
    spec = read_spec(text, job=job, pipeline=ctx.pipeline)
    return Documents(spec=spec, manifests=manifests, shards=shards, commits=commits, cancelled_at=cancelled_at)


def _listed(ctx: JobsContext, prefix: str) -> Iterator[tuple[str, float]]:
    """What lies below `prefix`: the rest of the key, and when it was written."""
    with explained(f"list {prefix}"):
        pages = ctx.aws.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(**ctx.in_bucket, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(prefix), found["LastModified"].timestamp()


def shard_of(ctx: JobsContext, spec: JobSpec, one: Wanted) -> Shard:
    """Raises ContractError where it is missing or cannot be read."""
    place = spec.job, one.number, one.generation
    return read_shard(_read(ctx, shard_key(*place)), place=place, pipeline=ctx.pipeline, project=spec.project)


def commit_of(ctx: JobsContext, job: str, one: Wanted) -> ShardResult:
    """Raises ContractError where it cannot be read."""
    place = job, one.number, one.generation
    return read_result(_read(ctx, result_key(*place)), place=place)


def _read(ctx: JobsContext, key: str) -> bytes:
    data = ctx.read(key)
    if data is None:
        raise ContractError(f"{key} is missing")
    return data
