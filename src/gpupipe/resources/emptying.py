"""Emptying a versioned bucket: every version, delete marker and unfinished upload, many at once, from anywhere on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import Any

from gpupipe.errors import AwsError
from gpupipe.resources import Progress
from gpupipe.threads import at_once

THREADS = 8
PASSES = 10
"""A pass leaves what was written behind its back, and what S3 refused for the moment; each starts from the front."""

Refusal = dict[str, str]


def empty_bucket(s3: Any, bucket: str, account: str, progress: Progress) -> None:
    """Delete all that `bucket` holds, telling `progress` the count. Killed anywhere, it goes on when called again.

    Raises AwsError when S3 refuses objects for good (a retention lock), or when somebody keeps writing.
    """
    target = {"Bucket": bucket, "ExpectedBucketOwner": account}
    _abort_uploads(s3, target)
    deleted = 0
    for _ in range(PASSES):
        listed = kept = 0
        first: Refusal = {}
        for size, refusals in _delete_pages(s3, target):
            listed, kept = listed + size, kept + len(refusals)
            first = first or next(iter(refusals), {})
            progress(f"{deleted + listed - kept:,} objects deleted")
        if not listed:
            return
        if listed == kept:
            raise _refused(bucket, kept, first)
        deleted += listed - kept
    raise AwsError(
        f"could not empty bucket {bucket}: new objects keep coming.", hint="Stop what writes to it, and run it again."
    )


def _delete_pages(s3: Any, target: dict[str, str]) -> Iterator[tuple[int, list[Refusal]]]:
    """Delete a batch of pages while the next is listed; yields each page's size and what of it was refused.

    No more than two batches are held: a bucket of millions takes no more memory than a small one.
    """
    pages = _pages(s3, target)
    running: list[Future[tuple[int, list[Refusal]]]] = []
    while batch := list(islice(pages, THREADS)):
        calls = {number: partial(_delete, s3, target, page) for number, page in enumerate(batch)}
        before, running = running, list(at_once(calls).values())
        yield from (one.result() for one in before)
    yield from (one.result() for one in running)


def _pages(s3: Any, target: dict[str, str]) -> Iterator[list[dict[str, str]]]:
    for page in s3.get_paginator("list_object_versions").paginate(**target):
        objects = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if objects:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in objects]


def _delete(s3: Any, target: dict[str, str], page: list[dict[str, str]]) -> tuple[int, list[Refusal]]:
    answer = s3.delete_objects(**target, Delete={"Objects": page, "Quiet": True})
    return len(page), answer.get("Errors", [])


def _abort_uploads(s3: Any, target: dict[str, str]) -> None:
    for page in s3.get_paginator("list_multipart_uploads").paginate(**target):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(**target, Key=upload["Key"], UploadId=upload["UploadId"])


def _refused(bucket: str, kept: int, first: Refusal) -> AwsError:
    reason = f"{first.get('Code', '')}: {first.get('Message', '')}"
    return AwsError(
        f"could not empty bucket {bucket}: {kept:,} objects stay, the first {first.get('Key', '')!r} by {reason}.",
        hint="See whether an object lock or a policy protects them, and run the same command again.",
        action="s3:DeleteObjectVersion",
    )
