"""How shards get to whatever works on them, by kind of pipeline; a new kind is one more line in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpupipe.functions.invocations import backlog, invoke
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.work_queue import count_messages, send_messages
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to send shards."""

    send: Callable[[Surroundings, Sequence[Message]], list[Message]]
    """Sends them; those that were sent. Raises where that makes the rest fail."""
    waiting: Callable[[Surroundings], int | None]
    """How many were sent and are not finished, approximately; None where nobody knows."""
    begins_work: bool = False
    """What is sent is begun, and costs money, or expires. So each row says whether it was sent, a job that is held is
    not, and what could not be sent is sent by the guard. Otherwise messages wait for the guard to start a machine."""


_BY_QUEUE = Way(send=send_messages, waiting=count_messages)
_BY_REQUEST = Way(send=invoke, waiting=backlog, begins_work=True)
WAYS: Mapping[tuple[str, str], Way] = {
    ("queue", ""): _BY_QUEUE,
    ("endpoint", "realtime"): _BY_QUEUE,
    ("endpoint", "async"): _BY_REQUEST,
}
"""By kind and mode."""


def way_of(settings: FunctionSettings) -> Way:
    """Of a pipeline."""
    return WAYS[settings.kind, settings.mode]


def send(around: Surroundings, messages: Iterable[Message]) -> list[Message]:
    """Send them; those that were sent."""
    return way_of(around.settings).send(around, list(messages))


def send_shards(around: Surroundings, shards: Iterable[ShardRecord]) -> int:
    """Send unsent shards and note which were; how many. Nothing is begun while the pipeline is paused."""
    unsent = {shard.place: shard for shard in shards}
    way, settings = way_of(around.settings), around.settings
    if not unsent or (way.begins_work and around.ledger.control(settings.pipeline).get("paused")):
        return 0
    began_at = around.clock()
    sent = send(around, [Message.of(place) for place in unsent])
    taken = [unsent[message.place] for message in sent]
    around.ledger.mark_all_sent(taken, at=began_at)
    return len(sent)
