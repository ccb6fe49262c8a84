"""A call of the work function for each shard: asynchronous, so Lambda keeps it until there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpupipe.functions import log
from gpupipe.functions.context import Clients
from gpupipe.functions.transport import Delivery, Transport
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord, ShardState
from tests.toy_kinds.pushed.backend.settings import PushedSettings

MARGIN_S = 30.0
"""Clocks differ, and a call begins a moment after it was made."""


@dataclass(frozen=True, kw_only=True)
class PushDelivery(Delivery):
    """Lambda drops a call that waits too long, ends one that works too long, and tells nobody of either."""

    begins_work = True
    work_timeout_s: float
    wait_max_s: float

    def patience_s(self, shard: ShardRecord) -> float:
        is_running = shard.state is ShardState.RUNNING
        return (self.work_timeout_s if is_running else self.wait_max_s) + MARGIN_S

    def is_lost(self, shard: ShardRecord, now: float) -> bool:
        return now - shard.last_sign_at > self.patience_s(shard)


class PushTransport(Transport):
    """Calls the function."""

    def __init__(self, settings: PushedSettings, client: Clients) -> None:
        self._settings, self._client = settings, client

    @property
    def delivery(self) -> PushDelivery:
        settings = self._settings
        return PushDelivery(work_timeout_s=settings.work_timeout_s, wait_max_s=settings.wait_max_s)

    def send(self, messages: Sequence[Message]) -> list[Message]:
        """Those that Lambda took; the guard sends the others."""
        taken: list[Message] = []
        for message in messages[: self._settings.at_once]:
            try:
                self._call(message)
            except Exception as error:  # throttled, or the function is being made: the next call would fail alike
                log.error("function_takes_no_calls", error, function=self._settings.work_function)
                break
            taken.append(message)
        return taken

    def count(self) -> None:
        """Lambda does not say how many calls wait; that one is lost, time alone tells."""

    def _call(self, message: Message) -> None:
        self._client("lambda").invoke(
            FunctionName=self._settings.work_function, InvocationType="Event", Payload=message.to_json().encode()
        )
