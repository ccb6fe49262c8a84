"""Asynchronous invocations of an endpoint: a request a shard, which SageMaker keeps until an instance takes it up."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gpupipe.functions import log
from gpupipe.functions.surroundings import Surroundings
from gpuworker.contract import Message, inference_id

SENDERS = 16
PATIENCE_S = 60.0
"""So long a function sends; the guard sends the rest."""
BACKLOG_WINDOW_S = 300


def invoke(around: Surroundings, messages: Iterable[Message]) -> list[Message]:
    """Request the work on these shards; those that SageMaker took. The others remain to be sent by the guard."""
    sending = _Sending(around)
    wanted = list(messages)[: around.settings.requests_ahead]
    if len(wanted) == 1:
        return [message for message in wanted if sending.take(message)]
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="invoke") as pool:
        taken = list(pool.map(sending.take, wanted))
    return [message for message, was_taken in zip(wanted, taken, strict=True) if was_taken]


@dataclass
class _Sending:
    """Many requests, until SageMaker takes no more."""

    around: Surroundings
    refused: bool = False
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE_S)

    def take(self, message: Message) -> bool:
        if self.refused or time.monotonic() > self.until:
            return False
        try:
            _invoke(self.around, message)
        except Exception as error:
            # An endpoint that is missing or being made, or throttling that outlasted boto3's patience: the next would
            # fail alike. Which shards were sent is in the ledger, so nothing is lost.
            self.refused = True
            log.warning("endpoint_takes_no_requests", endpoint=self.around.settings.endpoint, reason=str(error))
            return False
        return True


def _invoke(around: Surroundings, message: Message) -> None:
    settings = around.settings
    around.runtime.invoke_endpoint_async(
        EndpointName=settings.endpoint,
        ContentType="application/json",
        Accept="application/json",
        InputLocation=f"s3://{settings.bucket}/{message.key}",
        InferenceId=inference_id(*message.place),
        InvocationTimeoutSeconds=int(settings.invocation_timeout_s),
        RequestTTLSeconds=int(settings.request_ttl_s),
    )


def backlog(around: Surroundings) -> int | None:
    """Requests that wait or are worked on, third parties' among them: the most of the last minutes.

    None where CloudWatch has no figure. Figures come a minute late and one a minute.
    """
    now = around.clock()
    answer = around.alarms.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ApproximateBacklogSize",
        Dimensions=[{"Name": "EndpointName", "Value": around.settings.endpoint}],
        StartTime=datetime.fromtimestamp(now - BACKLOG_WINDOW_S, UTC),
        EndTime=datetime.fromtimestamp(now, UTC),
        Period=60,
        Statistics=["Maximum"],
    )
    points: Sequence[float] = [point["Maximum"] for point in answer["Datapoints"]]
    return math.ceil(max(points)) if points else None
