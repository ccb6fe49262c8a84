"""Asynchronous invocations of an endpoint: a request a shard, which SageMaker keeps until an instance takes it up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.context import Clients
from gpupipe.functions.queue_transport import SIGN_MARGIN_S
from gpupipe.functions.transport import Delivery, Transport
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpuworker.contract import Message, inference_id
from gpuworker.ledger import ShardRecord, ShardState

SENDERS = 16
PATIENCE_S = 60.0
"""So long a function sends; the guard sends the rest."""
BACKLOG_WINDOW_S = 300
MISSING_S = 600.0
"""CloudWatch's figures are minutes late: a younger request is not missed."""
EXPIRY_MARGIN_S = 300.0


@dataclass(frozen=True, kw_only=True)
class RequestDelivery(Delivery):
    """SageMaker keeps a request until it expires, and ends an invocation at its time, and tells of both."""

    begins_work = True
    invocation_timeout_s: float
    request_ttl_s: float

    def patience_s(self, shard: ShardRecord) -> float:
        return self.invocation_timeout_s + SIGN_MARGIN_S if _runs(shard) else MISSING_S

    def is_lost(self, shard: ShardRecord, now: float) -> bool:
        if _runs(shard):
            return now - shard.last_sign_at > self.patience_s(shard)
        return now - shard.sent_at > self.request_ttl_s + EXPIRY_MARGIN_S


def _runs(shard: ShardRecord) -> bool:
    return shard.state is ShardState.RUNNING


class RequestTransport(Transport):
    """Makes a request a shard."""

    def __init__(self, settings: EndpointSettings, client: Clients, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._client, self._clock = settings, client, clock

    @property
    def delivery(self) -> RequestDelivery:
        settings = self._settings
        return RequestDelivery(invocation_timeout_s=settings.invocation_timeout_s, request_ttl_s=settings.request_ttl_s)

    def send(self, messages: Sequence[Message]) -> list[Message]:
        """Those that SageMaker took; the others remain to be sent by the guard."""
        sending = _Sending(self._settings, self._client("sagemaker-runtime", retries={"mode": "adaptive"}))
        wanted = list(messages)[: self._settings.requests_ahead]
        if len(wanted) == 1:
            return [message for message in wanted if sending.take(message)]
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="invoke") as pool:
            taken = list(pool.map(sending.take, wanted))
        return [message for message, was_taken in zip(wanted, taken, strict=True) if was_taken]

    def count(self) -> int | None:
        """Requests that wait or are worked on, third parties' among them: the most of the last minutes.

        None where CloudWatch has no figure. Figures come a minute late and one a minute.
        """
        now = self._clock()
        answer = self._client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="ApproximateBacklogSize",
            Dimensions=[{"Name": "EndpointName", "Value": self._settings.endpoint}],
            StartTime=datetime.fromtimestamp(now - BACKLOG_WINDOW_S, UTC),
            EndTime=datetime.fromtimestamp(now, UTC),
            Period=60,
            Statistics=["Maximum"],
        )
        points: Sequence[float] = [point["Maximum"] for point in answer["Datapoints"]]
        return math.ceil(max(points)) if points else None


@dataclass
class _Sending:
    """Many requests, until SageMaker takes no more."""

    settings: EndpointSettings
    runtime: Any
    refused: bool = False
    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE_S)

    def take(self, message: Message) -> bool:
        if self.refused or time.monotonic() > self.until:
            return False
        try:
            self._invoke(message)
        except Exception as error:
            # An endpoint that is missing or being made, or throttling that outlasted boto3's patience: the next would
            # fail alike. Which shards were sent is in the ledger, so nothing is lost.
            self.refused = True
            log.warning("endpoint_takes_no_requests", endpoint=self.settings.endpoint, reason=str(error))
            return False
        return True

    def _invoke(self, message: Message) -> None:
        self.runtime.invoke_endpoint_async(
            EndpointName=self.settings.endpoint,
            ContentType="application/json",
            Accept="application/json",
            InputLocation=f"s3://{self.settings.bucket}/{message.key}",
            InferenceId=inference_id(*message.place),
            InvocationTimeoutSeconds=int(self.settings.invocation_timeout_s),
            RequestTTLSeconds=int(self.settings.request_ttl_s),
        )
