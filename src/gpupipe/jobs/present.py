"""What of a submission lies in the bucket already, so that it is not uploaded again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gpupipe.aws import absent_ok
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.sources import Input
from gpupipe.jobs.upload import Stored
from gpuworker.contract import input_key

SPARE_KEYS = 2_000


class Present:
    """Objects under a project's inputs, by key: listed at once, or asked for one by one where that is less work.

    Versions are listed, because only those listings tell the version that a shard pins.
    """

    def __init__(
        self,
        ctx: JobsContext,
        project: str,
        files: Sequence[Input],
        *,
        spare_keys: int = SPARE_KEYS,
        page_keys: int = 1_000,
    ) -> None:
        """`files` sorted by path; none other will be asked for. Of other keys `spare_keys` may be listed besides."""
        self._ctx = ctx
        self._known: dict[str, Stored] = {}
        self._complete_until: str | None = None
        """Keys above it were not listed; None: all were."""
        first, last = input_key(project, files[0].path), input_key(project, files[-1].path)
        self._list(first, last, most=10 * len(files) + spare_keys, page_keys=page_keys)

    def find(self, key: str) -> Stored | None:
        """The newest version of an object."""
        if self._complete_until is not None and key > self._complete_until:
            return self._ask(key)
        return self._known.get(key)

    def _list(self, first: str, last: str, *, most: int, page_keys: int) -> None:
        """List from the first key to the last, unless much more lies in between than is asked for."""
        prefix = _common_beginning(first, last)
        pages = self._ctx.aws.client("s3").get_paginator("list_object_versions")
        seen = 0
        with explained(f"list {prefix}"):
            for page in pages.paginate(**self._ctx.in_bucket, Prefix=prefix, PaginationConfig={"PageSize": page_keys}):
                versions = page.get("Versions", [])
                self._known |= {one["Key"]: _stored(one, one["Key"]) for one in versions if one["IsLatest"]}
                seen += len(versions)
                reached = versions[-1]["Key"] if versions else ""
                if reached > last:
                    return
                if seen > most and page.get("IsTruncated"):
                    self._complete_until = reached
                    return

    def _ask(self, key: str) -> Stored | None:
        with explained(f"look for {key}"):
            found = absent_ok(self._ctx.aws.client("s3").head_object, **self._ctx.in_bucket, Key=key)
        return None if found is None else _stored({**found, "Size": found["ContentLength"]}, key)


def _common_beginning(one: str, other: str) -> str:
    """Character by character: S3's prefixes need not end with a folder."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(pair[0] for pair in pairs)


def _stored(found: dict[str, object], key: str) -> Stored:
    version = str(found.get("VersionId") or "")
    return Stored(
        key=key,
        size=int(str(found["Size"])),
        etag=str(found["ETag"]).strip('"'),
        version_id="" if version == "null" else version,
    )
