"""`[pipelines.<name>]` with kind = "queue"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gpupipe.settings import DisagreementError, Frozen, Network, PipelineSettings

EC2_TYPE = r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"
InstanceType = Annotated[str, Field(pattern=EC2_TYPE)]


class Compute(Frozen):
    """`compute`: the machines."""

    instance_types: tuple[InstanceType, ...] = Field(
        ("g4dn.xlarge",), min_length=1, description="In order of preference."
    )
    market: Literal["on-demand", "spot"] = Field(
        "on-demand", description="spot costs about a third and can be taken away at two minutes' notice."
    )
    max_instances: int = Field(1, ge=1, le=100, description="The most machines at once; more than 1 is a fleet.")
    on_idle: Literal["stop", "terminate"] = Field("stop", description="stop keeps the one machine's disk.")
    idle_minutes: float = Field(15.0, gt=0, description="Minutes without work until a machine powers off.")
    max_processing_hours: float = Field(4.0, gt=0, le=24 * 7, description="Hard limit of one run of a machine.")
    volume_gb: int = Field(100, ge=30, le=16_384, description="Size of each machine's encrypted disk.")


class Ssh(Frozen):
    """`ssh`: off unless both are set; SSM Session Manager needs neither."""

    key_name: str = Field("", description="An EC2 key pair of the account.")
    allowed_cidrs: tuple[str, ...] = Field((), description="Who may connect to port 22, e.g. 203.0.113.7/32.")


class QueuePipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "queue"."""

    kind: Literal["queue"] = Field(description="Shape: S3 -> queue -> GPU machines that start on demand -> S3.")
    network: Network = Network()
    compute: Compute = Compute()
    ssh: Ssh = Ssh()
    min_images_to_start: int = Field(10, ge=1, description="Drop-ins that wait until a machine starts …")
    max_wait_minutes: float = Field(5.0, ge=0, description="… or the oldest has waited so long.")
    quiet_seconds: float = Field(60.0, ge=1, description="A drop-in job closes after so long without work.")
    visibility_timeout_s: int = Field(
        600, ge=10, le=43_200, description="Seconds without a sign of life until a shard is given to another machine."
    )
    max_receives: int = Field(4, ge=1, le=10, description="Tries of a shard before it is dead.")

    @model_validator(mode="after")
    def _settings_agree(self) -> QueuePipeline:
        if found := list(self._mistakes()):
            raise DisagreementError(found)
        return self

    def _mistakes(self) -> Iterator[str]:
        compute = self.compute
        if compute.on_idle == "stop" and compute.max_instances > 1:
            yield 'compute: on_idle = "stop" keeps one machine; with max_instances > 1 set on_idle = "terminate"'
        if compute.on_idle == "stop" and compute.market == "spot":
            yield 'compute: a spot machine cannot be stopped and kept; set on_idle = "terminate"'
        if bool(self.ssh.key_name) != bool(self.ssh.allowed_cidrs):
            yield "ssh: key_name and allowed_cidrs go together; leave both out to keep SSH off"
        if bool(self.network.vpc_id) != bool(self.network.subnet_ids):
            yield "network: vpc_id and subnet_ids go together; leave both out for the default VPC"
