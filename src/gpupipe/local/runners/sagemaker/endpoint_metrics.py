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
    """Requests given to each variant since the runner was opened."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Those of them that ended with a 5xx, or with no answer."""
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
        self._counted: dict[str, tuple[float, Load]] = {}

    def put(self, loads: Iterable[Load]) -> None:
        """Put what is due."""
        now = time.monotonic()
        for load in loads:
            put_at, before = self._put.get(load.endpoint, (0.0, []))
            values = data(load)
            if values and (values != before or now - put_at >= PERIOD_S):
                self._client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=values)
                self._put[load.endpoint] = (now, values)
            counted_at, counted = self._counted.setdefault(load.endpoint, (now, load))
            if now - counted_at >= PERIOD_S:
                self._counted[load.endpoint] = (now, load)
                if values := counts(counted, load):
                    self._client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=values)


def data(load: Load) -> list[dict[str, Any]]:
    """The metrics of an asynchronous endpoint's queue, as `PutMetricData` takes them."""
    if not load.asynchronous:
        return []
    values = {
        "ApproximateBacklogSize": load.backlog,
        "ApproximateBacklogSizePerInstance": load.backlog / max(load.instances, 1),
        "HasBacklogWithoutCapacity": int(load.is_without_capacity),
    }
    dimensions = [{"Name": "EndpointName", "Value": load.endpoint}]
    return [{"MetricName": name, "Dimensions": dimensions, "Value": float(value)} for name, value in values.items()]


def counts(before: Load, now: Load) -> list[dict[str, Any]]:
    """The requests that each variant was given between two looks, 1 for each that failed and 0 for each that did not,
    so that the average is the share; nothing of a variant without any."""
    found = []
    for variant, total in now.invocations.items():
        failed = now.errors.get(variant, 0) - before.errors.get(variant, 0)
        given = max(total - before.invocations.get(variant, 0), failed)  # one given earlier may fail only now
        names = (("EndpointName", now.endpoint), ("VariantName", variant))
        dimensions = [{"Name": name, "Value": value} for name, value in names]
        for metric, ones in (("Invocations", given), ("Invocation5XXErrors", failed)):
            statistics = {"SampleCount": given, "Sum": ones, "Minimum": int(ones == given), "Maximum": int(ones > 0)}
            found.append({"MetricName": metric, "Dimensions": dimensions, "StatisticValues": statistics})
    return [one for one in found if one["StatisticValues"]["SampleCount"] > 0]  # type: ignore[index]
