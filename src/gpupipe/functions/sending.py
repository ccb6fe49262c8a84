"""How shards get to whatever works on them, by kind of pipeline; a new kind is one more line in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpupipe.functions.surroundings import Surroundings
from gpupipe.functions.work_queue import count_messages, send_messages
from gpuworker.contract import Message


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to send shards."""

    send: Callable[[Surroundings, Sequence[Message]], list[Message]]
    """Sends them; those that were sent."""
    waiting: Callable[[Surroundings], int | None]
    """How many were sent and are not finished, approximately; None where nobody knows."""


_WORK_QUEUE = Way(send=send_messages, waiting=count_messages)
_WAYS: Mapping[tuple[str, str], Way] = {("queue", ""): _WORK_QUEUE}


def way_of(around: Surroundings) -> Way:
    """Of the pipeline that this function belongs to."""
    settings = around.settings
    return _WAYS[settings.kind, settings.mode]


def send(around: Surroundings, messages: Iterable[Message]) -> list[Message]:
    """Send them; those that were sent."""
    return way_of(around).send(around, list(messages))
