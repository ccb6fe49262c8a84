"""Emptying a versioned bucket: every version, delete marker and unfinished upload, many at once, from anywhere on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from gpupipe.errors import AwsError
from gpupipe.resources import Progress

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
        before, refusals, met = deleted, list[Refusal](), False
        for size, refused in _delete_pages(s3, target):
            met = True
            deleted += size - len(refused)
            refusals += refused
            progress(f"{deleted:,} objects deleted")
        if not met:
            return
        if deleted == before:
            raise AwsError(
                f"could not empty bucket {bucket}: {len(refusals):,} objects stay, {_first(refusals)}.",
                hint="See whether an object lock or a policy protects them, and run the same command again.",
                action="s3:DeleteObjectVersion",
            )
    raise AwsError(
        f"could not empty bucket {bucket}: new objects keep coming.", hint="Stop what writes to it, and run it again."
    )


def _delete_pages(s3: Any, target: dict[str, str]) -> Iterator[tuple[int, list[Refusal]]]:
    """Delete page by page while the next are listed; yields each page's size and what of it was refused.

    No more than two pages a thread are held: a bucket of millions takes no more memory than a small one.
    """
    running: set[Future[tuple[int, list[Refusal]]]] = set()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="empty") as threads:
        for page in _pages(s3, target):
            running.add(threads.submit(_delete, s3, target, page))
            if len(running) >= 2 * THREADS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
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


def _first(refusals: list[Refusal]) -> str:
    first = refusals[0]
    return f"the first {first.get('Key', '')!r} because of {first.get('Code', '')}: {first.get('Message', '')}"
