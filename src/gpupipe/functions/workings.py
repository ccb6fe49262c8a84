"""What a kind of pipeline brings to the functions, and the handlers that Lambda calls for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from gpupipe.functions.backend import Backend
from gpupipe.functions.context import BotoClients, Clients, Context
from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.guard import guard
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.transport import Transport
from gpuworker.ledger import Ledger

S = TypeVar("S", bound=FunctionSettings)

HASTY: Mapping[str, Any] = {"connect_timeout": 1, "read_timeout": 2, "retries": {"max_attempts": 0}}
"""A renewal that waits for an answer longer than the lease lasts would leave two looks side by side."""


@dataclass(frozen=True, kw_only=True)
class Workings(Generic[S]):
    """The part of a kind that works inside AWS. A kind's handlers are these methods, by names that Lambda is told."""

    settings: type[S]
    transport: Callable[[S, Clients], Transport]
    """How shards are sent."""
    backend: Callable[[Context[S]], Backend[S, Any]]
    """What works on them, new for each look."""
    clients: Callable[[str], Clients] = field(default=BotoClients)
    """Of a region."""

    @cached_property
    def context(self) -> Context[S]:
        """Of the running function; made once an execution environment."""
        settings = self.settings.of_running_function()
        client = self.clients(settings.region)
        return Context(
            settings=settings,
            ledger=Ledger(client("dynamodb"), settings.table),
            leases=Ledger(client("dynamodb", **HASTY), settings.table),
            client=client,
            transport=self.transport(settings, client),
        )

    def dispatch(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Lambda `dispatch`: SQS event source with ReportBatchItemFailures: which messages are to come again."""
        failed = dispatch(self.context, event.get("Records", ()), context.get_remaining_time_in_millis)
        return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}

    def guard(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Lambda `guard`: by the schedule, by dispatch, and for a person's start and stop: the status document."""
        left_s = context.get_remaining_time_in_millis() / 1000
        backend = self.backend(self.context)
        return guard(self.context, backend, event, holder=context.aws_request_id, left_s=left_s)
