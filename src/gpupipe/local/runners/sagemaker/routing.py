"""Where requests to the emulated endpoints may go now: written by `Endpoints`, read by whatever answers them."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(eq=False, kw_only=True)
class EndpointInstance:
    """One container as requests see it; its load is counted by the `Directory`."""

    name: str
    variant: str
    url: str
    token: str = field(default="", repr=False)
    """What the container asks of whoever calls it."""
    in_flight: int = 0


@dataclass(frozen=True, kw_only=True)
class RoutedVariant:
    """A production variant and its containers that are ready."""

    name: str
    weight: float
    instances: tuple[EndpointInstance, ...]


@dataclass(frozen=True, kw_only=True)
class AsyncSettings:
    """What an endpoint configuration says about asynchronous requests."""

    output_path: str
    failure_path: str = ""
    success_topic: str = ""
    error_topic: str = ""
    max_concurrency: int = 4


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """An endpoint as requests see it."""

    name: str
    status: str
    variants: tuple[RoutedVariant, ...]
    asynchronous: AsyncSettings | None

    @property
    def instances(self) -> int:
        return sum(len(variant.instances) for variant in self.variants)


class Directory:
    """All endpoints, and how busy their containers are."""

    def __init__(self) -> None:
        self.known = False
        """Whether the endpoints were looked at yet."""
        self.changed: Callable[[], None] = lambda: None
        """Called when a container may have become free."""
        self._hosted: Mapping[str, Hosted] = {}
        self._credit: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._invocations: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def publish(self, hosted: Mapping[str, Hosted]) -> None:
        """Replace all that is known."""
        self._hosted = dict(hosted)
        self.known = True
        self.changed()

    def get(self, endpoint: str) -> Hosted | None:
        return self._hosted.get(endpoint)

    def acquire(self, endpoint: str, *, variant: str = "", limit: int | None = None) -> EndpointInstance | None:
        """A container for one request, of `variant` or by the variants' weights; None if none has room."""
        hosted = self.get(endpoint)
        if hosted is None:
            return None
        with self._lock:
            free = {one.name: instance for one in hosted.variants if (instance := _least_busy(one, limit))}
            weights = {one.name: one.weight for one in hosted.variants if one.name in free}
            chosen = variant if variant in free else "" if variant else self._next(endpoint, weights)
            if not chosen:
                return None
            self._invocations[endpoint, chosen] += 1
            free[chosen].in_flight += 1
            return free[chosen]

    def release(self, instance: EndpointInstance) -> None:
        with self._lock:
            instance.in_flight -= 1
        self.changed()

    def failed(self, endpoint: str, instance: EndpointInstance) -> None:
        """Count an invocation that the container answered with 5xx, or not at all."""
        with self._lock:
            self._errors[endpoint, instance.variant] += 1

    def errors(self, endpoint: str, variant: str) -> int:
        """How many requests to a variant failed by the model's fault so far."""
        return self._errors[endpoint, variant]

    def invocations(self, endpoint: str, variant: str) -> int:
        """How many requests a variant was given so far."""
        return self._invocations[endpoint, variant]

    def _next(self, endpoint: str, weights: Mapping[str, float]) -> str:
        """The next variant: smooth weighted round robin, so that even few requests are shared out rightly."""
        wanted = {name: weight for name, weight in weights.items() if weight > 0}
        if not wanted:
            return ""
        for name, weight in wanted.items():
            self._credit[endpoint, name] += weight
        chosen = max(wanted, key=lambda name: self._credit[endpoint, name])
        self._credit[endpoint, chosen] -= sum(wanted.values())
        return chosen


def _least_busy(variant: RoutedVariant, limit: int | None) -> EndpointInstance | None:
    free = [one for one in variant.instances if limit is None or one.in_flight < limit]
    return min(free, key=lambda one: one.in_flight, default=None)
