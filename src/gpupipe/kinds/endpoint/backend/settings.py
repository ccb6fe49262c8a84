"""What the functions of an `endpoint` pipeline are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.functions.queue_transport import QueuedSettings
from gpuworker.contract import TARGET_SHARD_S

AHEAD_S = 3 * 3600.0
"""Work that SageMaker is given in advance: a request that waits for six hours expires."""
AHEAD_MIN = 100


@dataclass(frozen=True, kw_only=True)
class EndpointSettings(QueuedSettings):
    """With the endpoint. Of the work queue only a realtime one has need: SageMaker keeps the others' requests."""

    mode: str
    """"async" or "realtime"."""
    endpoint: str
    variants: Mapping[str, str]
    """The instance type that each prefers."""
    work_queue_url: str = ""
    min_instances: int = 0
    max_instances: int = 1
    max_concurrency: int = 4
    """Invocations that one instance works on at once."""
    invocation_timeout_s: float = 900.0
    request_ttl_s: float = 21_600.0
    """So long SageMaker keeps a request that no instance has taken up."""
    idle_minutes: float = 15.0

    @property
    def is_realtime(self) -> bool:
        """Does an invocation bring the answer itself?"""
        return self.mode == "realtime"

    @property
    def requests_ahead(self) -> int:
        """How many shards SageMaker may have been given; the guard sends others as these are done."""
        at_once = max(1, self.max_instances) * self.max_concurrency * max(1, len(self.variants))
        return max(AHEAD_MIN, math.ceil(AHEAD_S / TARGET_SHARD_S) * at_once)
