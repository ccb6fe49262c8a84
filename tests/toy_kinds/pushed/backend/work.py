"""The work of kind `pushed`: a call does one shard, from its document to its commit.

Killed anywhere, the row shows no more life, the guard sends the shard again, and the artefacts are written once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.commits import commit, count_commit
from gpupipe.functions.context import Context
from gpuworker.contract import (
    Artifact,
    Failure,
    Item,
    ItemResult,
    Message,
    Shard,
    ShardResult,
    content_of,
    output_prefix,
    read_shard,
)
from tests.toy_kinds.pushed.backend.settings import PushedSettings

BUSY = b"try again"
"""An input that says so fails the first time that its shard is done, as if something had been overloaded."""
ARTIFACT = "sum.json"

Ctx = Context[PushedSettings]


def work(ctx: Ctx, message: Message, *, machine: str) -> str:
    """Do a shard, unless it is over, another's, or at work elsewhere; in a word, what became of it."""
    place = {"job": message.job, "shard": message.number, "generation": message.generation}
    became = _work(ctx, message, machine)
    log.info(f"shard_{became}", **place, machine=machine)
    return became


def _work(ctx: Ctx, message: Message, machine: str) -> str:
    if ctx.ledger.is_of_another(message.job, ctx.settings.pipeline):
        return "foreign"
    row = ctx.ledger.start_shard(*message.place, machine, alive_s=ctx.settings.work_timeout_s)
    if row is None:
        return "dropped"
    if count_commit(ctx, row):  # of a call that was killed right after it
        return "done"
    result = _result(ctx, _shard(ctx, message), machine)
    if result is None:
        return "given_up"
    return "done" if commit(ctx, result) else "overtaken"


def _shard(ctx: Ctx, message: Message) -> Shard:
    text = ctx.s3.get_object(**ctx.in_bucket, Key=message.key)["Body"].read()
    return read_shard(text, place=message.place, pipeline=ctx.settings.pipeline)


def _result(ctx: Ctx, shard: Shard, machine: str) -> ShardResult | None:
    """Of all its items; None where it was cancelled or sent anew meanwhile."""
    started_at = ctx.clock()
    outcomes: list[ItemResult | Failure] = []
    for item in shard.items:
        outcomes.append(outcome_of(ctx, shard, item))
        if not ctx.ledger.heartbeat(*shard.place, machine, len(outcomes)):
            return None
    finished_at = ctx.clock()
    return ShardResult(
        job=shard.job,
        number=shard.number,
        generation=shard.generation,
        machine=machine,
        engine={"name": "sums"},
        header={},
        started_at=started_at,
        finished_at=finished_at,
        items=tuple(one for one in outcomes if isinstance(one, ItemResult)),
        failures=tuple(one for one in outcomes if isinstance(one, Failure)),
        timings={"wall": round(finished_at - started_at, 3)},
    )


# --- one item ---


def outcome_of(ctx: Ctx, shard: Shard, item: Item) -> ItemResult | Failure:
    """How many bytes it has and their digest, in a file and in a line of the merged result; or why not."""
    about: dict[str, Any] = {"output": item.output, "key": item.key, "etag": item.etag, "value": item.value}
    content = _content(ctx, item)
    if content is None:
        return Failure(**about, code="not_found", message="it is not there any more")
    if BUSY in content and shard.generation == 0:
        return Failure(**about, code="busy", message="it asks to be tried again")
    found = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    written = _written(ctx, output_prefix(shard.project, shard.job, item.output) + ARTIFACT, found)
    return ItemResult(**about, artifacts={ARTIFACT: written}, fragment=found, counts={"bytes": len(content)})


def _content(ctx: Ctx, item: Item) -> bytes | None:
    """What is worked on, a value as JSON; None where nothing is there."""
    if item.value is not None:
        return content_of(item.value)
    version = {"VersionId": item.version_id} if item.version_id else {}
    try:
        body: bytes = ctx.s3.get_object(**ctx.in_bucket, Key=item.key, **version)["Body"].read()
    except ctx.s3.exceptions.NoSuchKey:
        return None
    return body


def _written(ctx: Ctx, key: str, document: Mapping[str, Any]) -> Artifact:
    data = json.dumps(document).encode()
    answer = ctx.s3.put_object(**ctx.in_bucket, Key=key, Body=data, ContentType="application/json")
    version = str(answer.get("VersionId") or "")
    return Artifact(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), version_id=version)
