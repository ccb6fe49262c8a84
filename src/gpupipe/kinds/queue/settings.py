"""`[pipelines.<name>]` with kind = "queue"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gpupipe.settings import DisagreementError, Frozen, Network, PipelineSettings

EC2_TYPE = r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"
InstanceType = Annotated[str, Field(pattern=EC2_TYPE)]


class Compute(Frozen):
    """`compute`: the EC2 machines that do the work."""

    instance_types: tuple[InstanceType, ...] = Field(
        ("g4dn.xlarge",), min_length=1, description="EC2 instance types that machines may have, in order of preference."
    )
    market: Literal["on-demand", "spot"] = Field(
        "on-demand",
        description="How machines are bought; spot costs about a third and can be taken away at two minutes' notice.",
    )
    max_instances: int = Field(
        1, ge=1, le=100, description="The most machines that run at once; with more than 1 they are an EC2 fleet."
    )
    on_idle: Literal["stop", "terminate"] = Field(
        "stop",
        description="What becomes of a machine without work: stop keeps it and its disk, terminate deletes both.",
    )
    idle_minutes: float = Field(15.0, gt=0, description="Minutes without work after which a machine powers off.")
    max_processing_hours: float = Field(
        4.0, gt=0, le=24 * 7, description="Hours after which a machine powers off even with work left."
    )
    volume_gb: int = Field(100, ge=30, le=16_384, description="Size of each machine's encrypted disk, in gigabytes.")


class Ssh(Frozen):
    """`ssh`: SSH to machines, off unless key_name and allowed_cidrs are set; SSM Session Manager needs neither."""

    key_name: str = Field("", description="Name of the EC2 key pair that opens machines to SSH; empty: no SSH.")
    allowed_cidrs: tuple[str, ...] = Field(
        (), description="Address ranges that may connect to machines by SSH, e.g. 203.0.113.7/32."
    )


class QueuePipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "queue"."""

    kind: Literal["queue"] = Field(
        description="Kind of the pipeline; queue: S3 -> queue -> GPU machines that start on demand -> S3."
    )
    network: Network = Network()
    compute: Compute = Compute()
    ssh: Ssh = Ssh()
    min_images_to_start: int = Field(
        10,
        ge=1,
        description="Number of waiting drop-ins at which a machine starts even before the oldest has waited "
        "max_wait_minutes.",
    )
    max_wait_minutes: float = Field(
        5.0,
        ge=0,
        description="Minutes after which a machine starts for a drop-in even if fewer than min_images_to_start wait.",
    )
    quiet_seconds: float = Field(
        60.0, ge=1, description="Seconds without new drop-ins or work after which a drop-in job is closed."
    )
    visibility_timeout_s: int = Field(
        600,
        ge=10,
        le=43_200,
        description="Seconds without a sign of life from a shard's machine after which another machine gets the shard.",
    )
    max_receives: int = Field(4, ge=1, le=10, description="How often a shard is tried before it counts as dead.")

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
