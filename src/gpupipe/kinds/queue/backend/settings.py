"""What the functions of a `queue` pipeline are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpupipe.functions.queue_transport import QueuedSettings


@dataclass(frozen=True, kw_only=True)
class QueueSettings(QueuedSettings):
    """With the machines that the guard launches."""

    launch_template: str
    instance_types: Sequence[str]
    """In order of preference."""
    subnet_ids: Sequence[str] = ()
    """Subnets to launch into, one a zone; empty uses the default VPC's."""
    market: str = "on-demand"
    max_instances: int = 1
    on_idle: str = "stop"
    idle_minutes: float = 15.0
    max_processing_hours: float = 4.0
    min_images_to_start: int = 10
    """Drop-ins that wait until a machine starts."""
    max_wait_minutes: float = 5.0
    """So long the oldest drop-in waits at most."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of every machine and volume that the guard launches."""
