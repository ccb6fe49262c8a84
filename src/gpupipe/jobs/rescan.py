"""`gpupipe submit s3://BUCKET/incoming/PROJECT/`: tell dispatch of objects whose events were lost.

Dispatch takes what it does not know yet into the project's drop-in job; the rest it recognises by version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gpupipe.errors import InputError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.events import announce_objects
from gpuworker.contract import INCOMING, is_project_name

SCHEME = "s3://"


@dataclass(frozen=True, kw_only=True)
class Rescan:
    """Objects that dispatch was told of; those that are new become part of the project's drop-in job."""

    project: str
    objects: int
    bytes: int


def is_rescan(argument: str) -> bool:
    """Does an argument of `submit` mean objects in the bucket?"""
    return argument.startswith(SCHEME)


def rescan(ctx: JobsContext, url: str, *, on_found: Callable[[int], None] = lambda _: None) -> Rescan:
    """Raises InputError where the task takes no files, `url` is not below the incoming folder of a project, or holds
    nothing."""
    if "object" not in ctx.settings.task_options.takes:
        raise InputError(
            f"task {ctx.settings.task} takes values (JSON), no files: {url} cannot be submitted to it.",
            hint="Name another pipeline with --pipeline.",
        )
    project, prefix = _place(ctx, url)
    found = [0, 0]

    def objects() -> Iterator[dict[str, object]]:
        for one in newest_objects(ctx, prefix):
            found[0] += 1
            found[1] += int(str(one["size"]))
            on_found(found[0])
            yield one

    announce_objects(ctx, objects())
    if not found[0]:
        raise InputError(f"there is nothing below {url}.", hint=f"See `aws s3 ls s3://{ctx.bucket}/{INCOMING}`.")
    return Rescan(project=project, objects=found[0], bytes=found[1])


def _place(ctx: JobsContext, url: str) -> tuple[str, str]:
    """Project and key prefix that a URL means."""
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if bucket != ctx.bucket:
        raise InputError(
            f"{url} is not in the bucket of pipeline {ctx.pipeline}.",
            hint=f"Name {SCHEME}{ctx.bucket}/{INCOMING}PROJECT/, or another pipeline with --pipeline; objects of other "
            "buckets can be copied there with `aws s3 sync`.",
        )
    project, slash, _ = prefix.removeprefix(INCOMING).partition("/")
    if not prefix.startswith(INCOMING) or not is_project_name(project):
        raise InputError(
            f"{url} is not below the incoming folder of a project.",
            hint=f"Name {SCHEME}{ctx.bucket}/{INCOMING}PROJECT/.",
        )
    return project, prefix if slash else f"{prefix}/"


def newest_objects(ctx: JobsContext, prefix: str, *, since: float = 0.0) -> Iterator[dict[str, object]]:
    """The newest version of every object that was written at `since` (Unix time) or later, as dispatch wants it."""
    with explained(f"list {prefix}"):
        for page in ctx.aws.client("s3").get_paginator("list_object_versions").paginate(**ctx.in_bucket, Prefix=prefix):
            for one in page.get("Versions", ()):
                is_newest = one["IsLatest"] and one["LastModified"].timestamp() >= since
                if is_newest and not one["Key"].endswith("/"):
                    version = "" if one["VersionId"] == "null" else one["VersionId"]
                    etag = one["ETag"].strip('"')
                    yield {"key": one["Key"], "etag": etag, "size": one["Size"], "version_id": version}
