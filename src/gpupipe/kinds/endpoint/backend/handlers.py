"""What Lambda calls for an `endpoint` pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpupipe.functions.context import Clients
from gpupipe.functions.queue_transport import QueueTransport
from gpupipe.functions.transport import Transport
from gpupipe.functions.workings import Workings
from gpupipe.kinds.endpoint.backend.callback import callback as handle_notices
from gpupipe.kinds.endpoint.backend.forward import forward as take_to_endpoint
from gpupipe.kinds.endpoint.backend.hosted import Hosted
from gpupipe.kinds.endpoint.backend.invocations import RequestTransport
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings


def transport_of(settings: EndpointSettings, client: Clients) -> Transport:
    """A realtime endpoint is asked by `forward`, which takes shards from a queue; of others SageMaker keeps one."""
    return QueueTransport(settings, client) if settings.is_realtime else RequestTransport(settings, client)


WORKINGS = Workings(settings=EndpointSettings, transport=transport_of, backend=Hosted)

dispatch = WORKINGS.dispatch
guard = WORKINGS.guard


def callback(event: Mapping[str, Any], context: object) -> None:
    """Lambda `callback`: SNS subscription to the error topic of an asynchronous endpoint."""
    handle_notices(WORKINGS.context, event)


def forward(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Lambda `forward`: SQS event source with batches of one and ReportBatchItemFailures."""

    def left_s() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    records = event.get("Records", ())
    failed = [one["messageId"] for one in records if not take_to_endpoint(WORKINGS.context, one, left_s)]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
