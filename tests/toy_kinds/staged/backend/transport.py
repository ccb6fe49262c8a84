"""An execution for each shard: begun by a call of its first stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpupipe.functions import log
from gpupipe.functions.context import Clients
from gpupipe.functions.transport import Delivery, Transport
from gpuworker.contract import Message
from gpuworker.ledger import ShardRecord, ShardState
from tests.toy_kinds.staged.backend.settings import StagedSettings

MARGIN_S = 30.0
"""Clocks differ, and the topic's message takes a moment."""


@dataclass(frozen=True, kw_only=True)
class ExecutionDelivery(Delivery):
    """A stage that is killed tells nobody; each gives a sign of life as it begins."""

    begins_work = True
    stage_timeout_s: float
    wait_max_s: float

    def patience_s(self, shard: ShardRecord) -> float:
        """A stage may wait for its turn before it works, and the one before it gives no more signs then."""
        worked = self.stage_timeout_s if shard.state is ShardState.RUNNING else 0.0
        return worked + self.wait_max_s + MARGIN_S

    def is_lost(self, shard: ShardRecord, now: float) -> bool:
        return now - shard.last_sign_at > self.patience_s(shard)


class ExecutionTransport(Transport):
    """Begins executions."""

    def __init__(self, settings: StagedSettings, client: Clients) -> None:
        self._settings, self._client = settings, client

    @property
    def delivery(self) -> ExecutionDelivery:
        settings = self._settings
        return ExecutionDelivery(stage_timeout_s=settings.stage_timeout_s, wait_max_s=settings.wait_max_s)

    def send(self, messages: Sequence[Message]) -> list[Message]:
        """Those whose execution was begun; the guard begins the others."""
        taken: list[Message] = []
        for message in messages[: self._settings.at_once]:
            try:
                self._begin(message)
            except Exception as error:  # throttled, or the function is being made: the next call would fail alike
                log.error("no_execution_begun", error, function=self._settings.prepare_function)
                break
            taken.append(message)
        return taken

    def count(self) -> None:
        """Lambda does not say how many calls wait; that one is lost, time alone tells."""

    def _begin(self, message: Message) -> None:
        self._client("lambda").invoke(
            FunctionName=self._settings.prepare_function, InvocationType="Event", Payload=message.to_json().encode()
        )
