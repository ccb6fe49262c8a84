"""Requests to dispatch on its event queue, where S3's own events were lost or never made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gpupipe.explain import explained
from gpupipe.jobs import JobsContext

BODY_BYTES_MAX = 200_000
"""Below SQS's 256 KiB a message, with room for what it counts besides."""


def announce_manifest(ctx: JobsContext, job: str, generation: int = 0) -> None:
    """Tell dispatch of a manifest again; it ignores what it knows."""
    _send(ctx, json.dumps({"gpupipe": "manifest", "job": job, "generation": generation}))


def announce_objects(ctx: JobsContext, objects: Iterable[Mapping[str, Any]]) -> int:
    """Tell dispatch of objects under incoming/ (`key`, `etag`, `size`, `version_id`); how many."""
    count = 0
    batch: list[Mapping[str, Any]] = []
    size = 0
    for one in objects:
        length = len(json.dumps(one)) + 2
        if batch and size + length > BODY_BYTES_MAX:
            _send(ctx, _rescan(batch))
            batch, size = [], 0
        batch.append(one)
        size += length
        count += 1
    if batch:
        _send(ctx, _rescan(batch))
    return count


def _rescan(objects: list[Mapping[str, Any]]) -> str:
    return json.dumps({"gpupipe": "rescan", "objects": objects})


def _send(ctx: JobsContext, body: str) -> None:
    with explained(f"send to queue {ctx.aws.stack.event_queue(ctx.pipeline)}"):
        ctx.aws.client("sqs").send_message(QueueUrl=ctx.event_queue_url, MessageBody=body)
