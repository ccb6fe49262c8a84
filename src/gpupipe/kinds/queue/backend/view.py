"""What the guard sees of a `queue` pipeline: EC2's machines, and what they would be launched from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpupipe.functions.view import View
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpuworker.ledger import MachineRecord

DESCRIBE_LAG_S = 180.0
"""A machine just launched may be missing from DescribeInstances for a moment; longer than this, and it is gone."""
LIVE = frozenset({"pending", "running"})
GONE = frozenset({"shutting-down", "terminated"})


@dataclass(frozen=True, kw_only=True)
class Ec2Instance:
    """A machine of this pipeline, as AWS describes it."""

    machine: str
    state: str
    """pending, running, stopping, stopped, shutting-down or terminated."""
    instance_type: str
    zone: str
    market: str
    launched_at: float
    """Of its present or last run."""
    template: str = ""
    """Fingerprint of the launch template that it was made from."""
    stopped_at: float | None = None
    reason: str = ""
    """EC2's words for its last change of state."""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def is_gone(self) -> bool:
        return self.state in GONE


@dataclass(frozen=True, kw_only=True)
class FleetView(View[QueueSettings]):
    """With the machines."""

    instances: Sequence[Ec2Instance] = ()
    template: str = ""
    """Fingerprint of the launch template as it is now; "" where it was not looked up."""

    @property
    def live(self) -> list[Ec2Instance]:
        """Machines that run or are about to."""
        return [instance for instance in self.instances if instance.is_live]

    @property
    def launching(self) -> list[MachineRecord]:
        """Machines launched so recently that EC2 does not describe them yet."""
        described = {instance.machine for instance in self.instances}
        return [
            record
            for record in self.records.values()
            if record.is_up and record.machine not in described and self.now - record.run_started_at < DESCRIBE_LAG_S
        ]

    @property
    def existing(self) -> int:
        return len(self.live) + len(self.launching)

    @property
    def at_work(self) -> int:
        return len(self.live)

    @property
    def room(self) -> int:
        """Messages wait in the queue, so none is held back."""
        return 0

    @property
    def run_limit_s(self) -> float:
        return self.settings.max_processing_hours * 3600
