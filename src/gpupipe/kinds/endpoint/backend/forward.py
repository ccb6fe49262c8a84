"""Lambda `forward`: takes one shard of the work queue at a time to a realtime endpoint, and waits for its answer.

How many are at work at once is the event source's limit. A message that fails comes back, as it does for a machine's
worker; whether it was the shard's fault is what decides about its last receive.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.commits import mark_dead
from gpupipe.functions.context import Context
from gpupipe.kinds.endpoint.backend.notices import brief, code_in
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpuworker.contract import ContractError, Message, error_code, inference_id
from gpuworker.ledger import ShardRecord, ShardState

ONCE: Mapping[str, Any] = {"read_timeout": 70, "retries": {"max_attempts": 0}}
"""An invocation may take SageMaker's 60 s, and must not be begun twice."""
MARGIN_S = 10.0
"""Left for what follows the invocation."""
PAUSE_S, PAUSE_MAX_S = 0.5, 8.0
"""Between attempts at an endpoint that is busy."""
LATER_S = 60
LATER_MAX_S = 600
NOT_THE_SHARDS = frozenset({"time_is_up", "draining", "starting", "overloaded"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of an invocation."""

    done: bool
    """Nothing is left to do for this message."""
    blames: bool = True
    """If not done: does it say something about the shard?"""
    reason: str = ""


def forward(ctx: Context[EndpointSettings], record: Mapping[str, Any], left_s: Callable[[], float]) -> bool:
    """Have the endpoint work on a message's shard; False where the message is to come again."""
    try:
        message = Message.from_json(record["body"])
        _require_ours(ctx, message)
        shard = ctx.s3.get_object(**ctx.in_bucket, Key=message.key)["Body"].read()
    except (ContractError, ctx.s3.exceptions.NoSuchKey) as error:
        log.error("message_not_understood", error, message=record["messageId"])
        return False  # it ends in the dead-letter queue
    answer = _patiently(ctx, message, shard, left_s)
    if answer.done:
        return True
    receives = int(record["attributes"]["ApproximateReceiveCount"])
    place = {"job": message.job, "shard": message.number, "generation": message.generation}
    log.warning("shard_came_back", **place, receives=receives, blames=answer.blames, reason=answer.reason)
    return _come_again(ctx, record, message, answer, receives)


def _require_ours(ctx: Context[EndpointSettings], message: Message) -> None:
    """Raises ContractError for the shard of another pipeline of the stack, whose row is not ours to change."""
    if ctx.ledger.is_of_another(message.job, ctx.settings.pipeline):
        raise ContractError(f"{message.job} is a job of another pipeline")


# --- asking the endpoint ---


def _patiently(ctx: Context[EndpointSettings], message: Message, shard: bytes, left_s: Callable[[], float]) -> Answer:
    """Ask again and again while the endpoint is busy and there is time for another whole invocation."""
    pause_s = PAUSE_S
    while True:
        answer = _ask(ctx, message, shard)
        if answer.done or answer.blames or left_s() < pause_s + ctx.settings.invocation_timeout_s + MARGIN_S:
            return answer
        time.sleep(random.uniform(0, pause_s))
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _ask(ctx: Context[EndpointSettings], message: Message, shard: bytes) -> Answer:
    settings = ctx.settings
    try:
        ctx.client("sagemaker-runtime", **ONCE).invoke_endpoint(
            EndpointName=settings.endpoint,
            Body=shard,
            ContentType="application/json",
            Accept="application/json",
            InferenceId=inference_id(*message.place),
        )
    except Exception as error:
        return _failed(error)
    # Done, or over (cancelled, dead, newer), or elsewhere: another copy's invocation is at it, and if that dies the
    # guard sees that a message is missing.
    return Answer(done=True)


def _failed(error: Exception) -> Answer:
    if error_code(error) != "ModelError":
        # The endpoint is missing or busy, or the network failed: it says nothing about the shard.
        return Answer(done=False, blames=False, reason=brief(f"{type(error).__name__}: {error}"))
    code = code_in(str(getattr(error, "response", {}).get("OriginalMessage") or error))
    if code == "unusable_shard":  # the container has marked it dead
        return Answer(done=True)
    return Answer(done=False, blames=code not in NOT_THE_SHARDS, reason=brief(str(error)))


# --- what then ---


def _come_again(
    ctx: Context[EndpointSettings], record: Mapping[str, Any], message: Message, answer: Answer, receives: int
) -> bool:
    """Let the message come back after a pause, or where SQS would not hand it out again, settle it."""
    row = ctx.ledger.shard(message.job, message.number)
    if row is None or not row.is_open or row.generation != message.generation:
        return row is not None and row.generation >= message.generation
    if row.started >= ctx.settings.max_receives or (answer.blames and receives >= ctx.settings.max_receives):
        mark_dead(ctx, row, f"tried {max(row.started, receives)} times, last: {answer.reason}")
        return False  # the dead-letter queue shows it
    if receives >= ctx.settings.max_receives:
        return _begin_anew(ctx, message, row)
    if row.state is ShardState.RUNNING and answer.blames:
        ctx.ledger.requeue_shard(row)  # its worker died with it; the next need not wait until that shows
    pause_s = min(LATER_MAX_S, LATER_S * 2 ** (receives - 1))
    ctx.client("sqs").change_message_visibility(
        QueueUrl=ctx.settings.work_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=pause_s
    )
    return False


def _begin_anew(ctx: Context[EndpointSettings], message: Message, row: ShardRecord) -> bool:
    """A new message in place of this one, with its receives counted from none: the shard is not to blame."""
    ctx.client("sqs").send_message(
        QueueUrl=ctx.settings.work_queue_url, MessageBody=message.to_json(), DelaySeconds=LATER_MAX_S
    )
    ctx.ledger.mark_sent(*row.place)
    return True
