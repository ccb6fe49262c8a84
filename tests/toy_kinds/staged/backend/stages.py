"""The stages of an execution: `prepare` finds out what there is, `finish` does it; the topic is told of the end.

Each holds the shard's row by a heartbeat; one that does not get it (cancelled, sent anew) ends without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from gpupipe.functions import log
from gpuworker.contract import (
    Artifact,
    Failure,
    Item,
    ItemResult,
    Shard,
    ShardResult,
    content_of,
    output_prefix,
    read_shard,
    shard_key,
)
from tests.toy_kinds.staged.backend.steps import Ctx, StageState, Step, draft_key, leave, state_of

BUSY = b"try again"
"""An input that says so fails the first time that its shard is done, as if something had been overloaded."""
BROKEN = b"break the stage"
"""An input that says so makes the first execution of its shard fail."""
ARTIFACT = "words.json"


class StageError(Exception):
    """The execution cannot go on; its message tells the person why."""


def prepare(ctx: Ctx, step: Step) -> None:
    """First stage."""
    if ctx.ledger.is_of_another(step.job, ctx.settings.pipeline):
        log.warning("shard_foreign", job=step.job)
        return
    row = ctx.ledger.start_shard(*step.place, step.execution, alive_s=ctx.settings.stage_timeout_s)
    if row is None:
        log.info("shard_dropped", job=step.job, shard=step.number, generation=step.generation)
    else:
        _telling(ctx, step, partial(_prepare, ctx, step, row.started))


def finish(ctx: Ctx, step: Step) -> None:
    """Second and last stage."""
    if ctx.ledger.heartbeat(*step.place, step.execution, 0):
        _telling(ctx, step, partial(_finish, ctx, step))
    else:
        log.info("shard_given_up", job=step.job, shard=step.number, generation=step.generation)


def _telling(ctx: Ctx, step: Step, act: Callable[[], None]) -> None:
    """Do a stage; where that fails the topic is told, and callback decides what becomes of the shard."""
    try:
        act()
    except Exception as error:
        log.error("stage_failed", error, job=step.job, shard=step.number)
        _tell(ctx, Step(**{**vars(step), "problem": f"{type(error).__name__}: {error}"}))


def _tell(ctx: Ctx, step: Step) -> None:
    ctx.client("sns").publish(TopicArn=ctx.settings.topic_arn, Message=step.to_json())


# --- prepare ---


def _prepare(ctx: Ctx, step: Step, tries: int) -> None:
    sizes = {item.output: _size(ctx, item) for item in _shard(ctx, step).items}
    leave(ctx, step.place, StageState(execution=step.execution, next_stage="finish", tries=tries, sizes=sizes))
    log.info("shard_prepared", job=step.job, shard=step.number, generation=step.generation, bytes=sum(sizes.values()))
    ctx.client("lambda").invoke(
        FunctionName=ctx.settings.finish_function, InvocationType="Event", Payload=step.to_json().encode()
    )


def _size(ctx: Ctx, item: Item) -> int:
    if item.value is not None:
        return item.size
    return int(ctx.s3.head_object(**ctx.in_bucket, Key=item.key)["ContentLength"])


def _shard(ctx: Ctx, step: Step) -> Shard:
    text = ctx.s3.get_object(**ctx.in_bucket, Key=shard_key(*step.place))["Body"].read()
    return read_shard(text, place=step.place, pipeline=ctx.settings.pipeline)


# --- finish ---


def _finish(ctx: Ctx, step: Step) -> None:
    state = state_of(ctx, step.place)
    if state is None or state.execution != step.execution:
        raise StageError("what the first stage left is gone")
    result = _result(ctx, _shard(ctx, step), state)
    ctx.s3.put_object(**ctx.in_bucket, Key=draft_key(step.place), Body=result.to_gzip())
    log.info("shard_finished", job=step.job, shard=step.number, generation=step.generation)
    _tell(ctx, step)


def _result(ctx: Ctx, shard: Shard, state: StageState) -> ShardResult:
    started_at = ctx.clock()
    outcomes = [outcome_of(ctx, shard, item, state) for item in shard.items]
    finished_at = ctx.clock()
    return ShardResult(
        job=shard.job,
        number=shard.number,
        generation=shard.generation,
        machine=state.execution,
        engine={"name": "words"},
        header={},
        started_at=started_at,
        finished_at=finished_at,
        items=tuple(one for one in outcomes if isinstance(one, ItemResult)),
        failures=tuple(one for one in outcomes if isinstance(one, Failure)),
        timings={"wall": round(finished_at - started_at, 3)},
    )


# --- one item ---


def outcome_of(ctx: Ctx, shard: Shard, item: Item, state: StageState) -> ItemResult | Failure:
    """How many words it has, in a file and in a line of the merged result; or why not. Raises StageError."""
    about: dict[str, Any] = {"output": item.output, "key": item.key, "etag": item.etag, "value": item.value}
    content = _content(ctx, item)
    if BROKEN in content and state.tries == 1:
        raise StageError(f"{item.output} breaks the stage")
    if BUSY in content and shard.generation == 0:
        return Failure(**about, code="busy", message="it asks to be tried again")
    found = {"words": len(content.split()), "bytes": state.sizes[item.output]}
    written = _written(ctx, output_prefix(shard.project, shard.job, item.output) + ARTIFACT, found)
    return ItemResult(**about, artifacts={ARTIFACT: written}, fragment=found, counts={"words": found["words"]})


def _content(ctx: Ctx, item: Item) -> bytes:
    """What is worked on, a value as JSON."""
    if item.value is not None:
        return content_of(item.value)
    body: bytes = ctx.s3.get_object(**ctx.in_bucket, Key=item.key)["Body"].read()
    return body


def _written(ctx: Ctx, key: str, document: dict[str, Any]) -> Artifact:
    data = json.dumps(document).encode()
    answer = ctx.s3.put_object(**ctx.in_bucket, Key=key, Body=data, ContentType="application/json")
    version = str(answer.get("VersionId") or "")
    return Artifact(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), version_id=version)
