"""Sending shards by their pipeline's transport, with the ledger told which are on their way."""

from __future__ import annotations

from collections.abc import Iterable

from gpupipe.functions.context import AnyContext
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord


def send(ctx: AnyContext, messages: Iterable[Message]) -> list[Message]:
    """Send them; those that were sent."""
    return ctx.transport.send(list(messages))


def send_shards(ctx: AnyContext, shards: Iterable[ShardRecord]) -> int:
    """Send unsent shards and note which were; how many. Nothing is begun while the pipeline is paused."""
    unsent = {shard.place: shard for shard in shards}
    if not unsent or (ctx.begins_work and ctx.ledger.control(ctx.settings.pipeline).get("paused")):
        return 0
    began_at = ctx.clock()
    sent = send(ctx, [Message.of(place) for place in unsent])
    taken = [unsent[message.place] for message in sent]
    ctx.ledger.mark_all_sent(taken, at=began_at)
    return len(sent)
