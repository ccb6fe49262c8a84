"""The metrics that SageMaker writes about its endpoints, put to the emulated CloudWatch."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "AWS/SageMaker"
PERIOD_S = 15.0
"""How often unchanged values are put; changes are put at once. (SageMaker: each minute.)"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much there is to do for an endpoint, and who does it."""

    endpoint: str
    status: str
    asynchronous: bool
    backlog: int
    """Requests without a result, those in work included."""
    desired: Mapping[str, int]
    """Instances by variant."""
    ready: Mapping[str, int]
    invocations: Mapping[str, int]
    """Requests given to each variant since the room was opened."""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Requests that each variant works on."""

    @property
    def instances(self) -> int:
        return sum(self.ready.values())

    @property
    def is_without_capacity(self) -> bool:
        """HasBacklogWithoutCapacity: something to do and nobody there."""
        return self.backlog > 0 and self.instances == 0


class EndpointMetrics:
    """Puts what has changed, and all of it from time to time."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client
        self._put: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def put(self, loads: Iterable[Load]) -> None:
        """Put what is due."""
        now = time.monotonic()
        for load in loads:
            put_at, before = self._put.get(load.endpoint, (0.0, []))
            values = data(load)
            if values and (values != before or now - put_at >= PERIOD_S):
                self._client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=values)
                self._put[load.endpoint] = (now, values)


def data(load: Load) -> list[dict[str, Any]]:
    """The metrics of an asynchronous endpoint, as `PutMetricData` takes them."""
    if not load.asynchronous:
        return []
    values = {
        "ApproximateBacklogSize": load.backlog,
        "ApproximateBacklogSizePerInstance": load.backlog / max(load.instances, 1),
        "HasBacklogWithoutCapacity": int(load.is_without_capacity),
    }
    dimensions = [{"Name": "EndpointName", "Value": load.endpoint}]
    return [{"MetricName": name, "Dimensions": dimensions, "Value": float(value)} for name, value in values.items()]
