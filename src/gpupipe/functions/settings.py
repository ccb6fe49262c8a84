"""What a function is told by its environment: one JSON document, `GPUPIPE_FUNCTION`; names and limits, no secret."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuworker.contract import TARGET_SHARD_S, Document, pattern_for

VARIABLE = "GPUPIPE_FUNCTION"
AHEAD_S = 3 * 3600.0
"""Work that SageMaker is given in advance: a request that waits for six hours expires."""
AHEAD_MIN = 100


@dataclass(frozen=True, kw_only=True)
class FunctionSettings(Document):
    """One document serves all functions of a pipeline: they are parts of one thing."""

    stack: str
    pipeline: str
    kind: str
    mode: str = ""
    """Of an endpoint: "async" or "realtime"."""
    account: str
    region: str
    bucket: str
    table: str
    work_queue_url: str
    task: str
    task_options: Mapping[str, Any]
    """Canonical options of drop-ins, whole."""
    dropin_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those that differ for the projects of a pattern."""
    input_suffixes: Sequence[str]
    """File name endings that drop-ins are taken for; others are ignored and counted."""
    shard_items: int
    """The most items a drop-in shard holds."""
    dropin_shard_items: Mapping[str, int] = field(default_factory=dict)
    """Where it differs, by the same patterns."""
    guard_function: str
    min_images_to_start: int = 10
    max_wait_minutes: float = 5.0
    quiet_seconds: float = 60.0
    visibility_timeout_s: int = 600
    max_receives: int = 4
    # Of an endpoint.
    endpoint: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    """The instance type that each prefers."""
    min_instances: int = 0
    max_concurrency: int = 4
    """Invocations that one instance works on at once."""
    invocation_timeout_s: float = 900.0
    request_ttl_s: float = 21_600.0
    """So long SageMaker keeps a request that no instance has taken up."""
    # The guard's machines.
    launch_template: str = ""
    instance_types: Sequence[str] = ()
    subnet_ids: Sequence[str] = ()
    """Subnets to launch into, one a zone; empty uses the default VPC's."""
    market: str = "on-demand"
    max_instances: int = 1
    on_idle: str = "stop"
    idle_minutes: float = 15.0
    max_processing_hours: float = 4.0
    monthly_usd: float = 0.0
    prices_usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    """By instance type, of the market in use; for budget and cost records."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of every machine and volume the guard launches."""

    @property
    def requests_ahead(self) -> int:
        """How many shards SageMaker may have been given; the guard sends others as these are done."""
        at_once = max(1, self.max_instances) * self.max_concurrency * max(1, len(self.variants))
        return max(AHEAD_MIN, math.ceil(AHEAD_S / TARGET_SHARD_S) * at_once)

    def options_of_dropins(self, project: str) -> Mapping[str, Any]:
        """The whole options of a drop-in job of that project that is opened now."""
        return {**self.task_options, **self.dropin_options.get(self._pattern_for(project), {})}

    def items_of_dropins(self, project: str) -> int:
        """The most items that a drop-in shard of that project holds."""
        return self.dropin_shard_items.get(self._pattern_for(project), self.shard_items)

    def _pattern_for(self, project: str) -> str:
        return pattern_for(self.dropin_options, project) or ""

    @classmethod
    def from_environment(cls) -> FunctionSettings:
        """Of the running function."""
        return cls.from_json(os.environ[VARIABLE])
