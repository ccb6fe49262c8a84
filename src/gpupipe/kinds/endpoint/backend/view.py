"""What the guard sees of an `endpoint` pipeline: SageMaker's endpoint with its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpupipe.functions.view import View
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings

CAN_BE_SCALED = frozenset({"InService", "UpdateRollbackFailed"})
"""Of the second, old and new instances serve side by side: they cost as much, and have to be stopped as well."""
TAKES_REQUESTS = CAN_BE_SCALED | {"Updating", "SystemUpdating", "RollingBack"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One production variant of an endpoint."""

    name: str
    instance_type: str
    """The one that it prefers."""
    instance_types: Sequence[str] = ()
    """Of each instance that is there."""
    desired: int = 0
    weight: float = 1.0
    message: str = ""
    """SageMaker's words for what it is doing with it."""

    @property
    def current(self) -> int:
        """Instances that are there."""
        return len(self.instance_types)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A SageMaker endpoint, as SageMaker describes it."""

    name: str
    status: str
    """InService, Creating, Updating, SystemUpdating, RollingBack, UpdateRollbackFailed, OutOfService, Deleting or
    Failed."""
    failure: str = ""
    config: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    variants: Sequence[Variant] = ()

    @property
    def can_be_scaled(self) -> bool:
        return self.status in CAN_BE_SCALED

    @property
    def takes_requests(self) -> bool:
        return self.status in TAKES_REQUESTS

    @property
    def current(self) -> int:
        return sum(variant.current for variant in self.variants)

    @property
    def desired(self) -> int:
        return sum(variant.desired for variant in self.variants)


@dataclass(frozen=True, kw_only=True)
class EndpointView(View[EndpointSettings]):
    """With the endpoint."""

    endpoint: Endpoint | None = None
    """None where there is none."""
    suspended: Mapping[str, bool] = field(default_factory=dict)
    """Of variants that Application Auto Scaling scales: may it add no instances now?"""
    busy_at: float = 0.0
    """When it last had something to do, as far as looks saw."""

    @property
    def existing(self) -> int:
        return self.endpoint.current if self.endpoint else 0

    @property
    def at_work(self) -> int:
        return self.existing

    @property
    def room(self) -> int:
        """No more than it works on in the next hours: requests that wait expire."""
        takes = self.endpoint is not None and self.endpoint.takes_requests
        if not self.delivery.begins_work or not takes or self.paused or self.is_over_budget:
            return 0
        return self.settings.requests_ahead

    @property
    def run_limit_s(self) -> None:
        """Instances run as long as scaling leaves them."""
        return None
