"""`[pipelines.<name>]` with kind = "endpoint"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gpupipe.kinds.endpoint.agreement import MAIN, mistakes, mistakes_on_aws, realtime_defaults
from gpupipe.settings import DisagreementError, Frozen, PipelineSettings

SAGEMAKER_TYPE = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"
VARIANT_NAME = r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$"
InstanceType = Annotated[str, Field(pattern=SAGEMAKER_TYPE)]
AWS_SCALES_IN_MINUTES = 15
"""Target tracking takes instances off after so long with little to do; none can be told to wait longer."""


class Compute(Frozen):
    """`compute`: the instances."""

    instance_types: tuple[InstanceType, ...] = Field(
        ("ml.m5.xlarge",), min_length=1, max_length=5, description="In order of preference; AWS takes what it has."
    )
    min_instances: int = Field(0, ge=0, le=100, description="Instances that always run; realtime needs 1 or more.")
    max_instances: int = Field(2, ge=1, le=100, description="The most instances of a variant at once.")
    max_concurrency: int = Field(4, ge=1, le=1000, description="Requests that one instance works on at once.")
    backlog_per_instance: float = Field(
        4.0, gt=0, description="async: scaling aims at so many waiting and running requests an instance."
    )
    requests_per_instance: float = Field(
        3.0, gt=0, description="realtime: scaling aims at so many running requests an instance."
    )
    idle_minutes: float = Field(
        15.0, gt=0, le=AWS_SCALES_IN_MINUTES, description="async: minutes without work until instances go."
    )


class Variant(Frozen):
    """`variants`: in realtime two may share the requests by weight; none is one called "main"."""

    name: str = Field(pattern=VARIANT_NAME, description="Written into each result.")
    weight: float = Field(1.0, ge=0, description="Share of the requests; changed without a new deployment.")
    image: str = Field("", description="Container image, where it is not the pipeline's.")
    instance_types: tuple[InstanceType, ...] = Field((), max_length=5, description="Where not compute's.")
    task_options: Mapping[str, Any] = Field(
        default_factory=dict, description="Over the pipeline's, for requests of other clients; a job brings its own."
    )


class KeepWarm(Frozen):
    """`keep_warm`: realtime only: more instances at certain hours; off unless start and end are set."""

    start: str = Field("", description='When they start, by AWS\'s cron: "0 8 ? * MON-FRI *".')
    end: str = Field("", description='When min_instances of compute counts again: "0 18 ? * MON-FRI *".')
    timezone: str = Field("UTC", description='Of both, e.g. "Europe/Berlin".')
    min_instances: int = Field(2, ge=1, le=100, description="Instances that run between the two.")


class Rollback(Frozen):
    """`rollback`: a new deployment that fails goes back to the old one by itself."""

    error_percent: float = Field(
        50.0, ge=0, le=100, description="Share of requests that fail with 5xx which rolls back; 0 = none."
    )
    minutes: int = Field(5, ge=0, le=60, description="The old instances are kept and the new ones watched so long.")


class EndpointPipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "endpoint"."""

    kind: Literal["endpoint"] = Field(description="Shape: S3 -> SageMaker endpoint that scales from zero -> S3.")
    mode: Literal["async", "realtime"] = Field("async", description="realtime always runs, and answers within 60 s.")
    image: str = Field("", description='Container image in ECR; needed with target "aws".')
    quiet_seconds: float = Field(60.0, ge=1, description="A drop-in job closes after so long without work.")
    max_tries: int = Field(4, ge=1, le=10, description="Tries of a shard before it is dead.")
    invocation_timeout_s: int = Field(
        900, ge=10, le=3600, description="Seconds until SageMaker gives an invocation up; realtime: 60."
    )
    compute: Compute = Compute()
    keep_warm: KeepWarm = KeepWarm()
    rollback: Rollback = Rollback()
    variants: tuple[Variant, ...] = Field((), max_length=2, description="Two to compare; none is one called main.")

    @model_validator(mode="before")
    @classmethod
    def _realtime_has_defaults_of_its_own(cls, data: Any) -> Any:
        return realtime_defaults(data)

    @model_validator(mode="after")
    def _settings_agree(self) -> EndpointPipeline:
        if found := list(mistakes(self)):
            raise DisagreementError(found)
        return self

    def mistakes_on(self, target: str, region: str) -> Iterator[str]:
        return mistakes_on_aws(self, region) if target == "aws" else iter(())

    @property
    def deployed(self) -> tuple[Variant, ...]:
        """The variants as they run, with the pipeline's settings where they have none of their own."""
        own = self.task_options.model_dump(mode="json")
        return tuple(
            variant.model_copy(
                update={
                    "image": variant.image or self.image,
                    "instance_types": variant.instance_types or self.compute.instance_types,
                    "task_options": self.options_of(variant).model_dump(mode="json") if variant.task_options else own,
                }
            )
            for variant in self.variants or (Variant(name=MAIN),)
        )

    def options_of(self, variant: Variant) -> Any:
        """The task's options for `variant`. Raises ValidationError."""
        return type(self.task_options).model_validate({**self.task_options.model_dump(), **variant.task_options})

    @property
    def is_realtime(self) -> bool:
        """Does an invocation bring the answer itself?"""
        return self.mode == "realtime"
