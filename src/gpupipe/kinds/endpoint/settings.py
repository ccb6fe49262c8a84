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
    """`compute`: the SageMaker instances that do the work."""

    instance_types: tuple[InstanceType, ...] = Field(
        ("ml.m5.xlarge",),
        min_length=1,
        max_length=5,
        description="SageMaker instance types, in order of preference; AWS takes the first it has.",
    )
    min_instances: int = Field(
        0, ge=0, le=100, description="Instances that run even without work; in realtime mode at least 1."
    )
    max_instances: int = Field(2, ge=1, le=100, description="The most instances of one variant that run at once.")
    max_concurrency: int = Field(4, ge=1, le=1000, description="Requests that one instance works on at the same time.")
    backlog_per_instance: float = Field(
        4.0, gt=0, description="Waiting and running requests an instance that scaling aims at in async mode."
    )
    requests_per_instance: float = Field(
        3.0, gt=0, description="Running requests an instance that scaling aims at in realtime mode."
    )
    idle_minutes: float = Field(
        15.0,
        gt=0,
        le=AWS_SCALES_IN_MINUTES,
        description="Minutes without work after which instances are taken away, in async mode.",
    )


class Variant(Frozen):
    """`variants`: deployments that share a realtime endpoint's requests by weight; without any there is one, "main"."""

    name: str = Field(
        pattern=VARIANT_NAME, description="Name of the variant, which is written into each of its results."
    )
    weight: float = Field(
        1.0,
        ge=0,
        description="Share of the requests that the variant gets, relative to the others' weights; changed without a "
        "deployment.",
    )
    image: str = Field("", description="Container image of the variant; empty: the pipeline's.")
    instance_types: tuple[InstanceType, ...] = Field(
        (),
        max_length=5,
        description="Instance types of the variant, in order of preference; empty: those of the pipeline's compute.",
    )
    task_options: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Options that replace the pipeline's task_options in requests of other clients; a job brings its "
        "own.",
    )


class KeepWarm(Frozen):
    """`keep_warm`: more instances at certain hours, in realtime mode only; off unless start and end are set."""

    start: str = Field(
        "", description='When the hours with more instances begin, as AWS writes cron: "0 8 ? * MON-FRI *".'
    )
    end: str = Field(
        "", description='When the hours with more instances end, as AWS writes cron: "0 18 ? * MON-FRI *".'
    )
    timezone: str = Field("UTC", description='Time zone that start and end are read in, e.g. "Europe/Berlin".')
    min_instances: int = Field(2, ge=1, le=100, description="Instances that run from start to end even without work.")


class Rollback(Frozen):
    """`rollback`: when a new deployment that fails goes back to the old one by itself."""

    error_percent: float = Field(
        50.0,
        ge=0,
        le=100,
        description="A new deployment is rolled back when this percentage of its requests fails with 5xx; 0: never.",
    )
    minutes: int = Field(
        5, ge=0, le=60, description="Minutes that a new deployment is watched and the old one's instances still run."
    )


class EndpointPipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "endpoint"."""

    kind: Literal["endpoint"] = Field(
        description="Kind of the pipeline; endpoint: S3 -> SageMaker endpoint that scales from zero -> S3."
    )
    mode: Literal["async", "realtime"] = Field(
        "async",
        description="How requests are answered: async by files in S3, and it scales to zero; realtime within 60 s, "
        "and it always runs.",
    )
    image: str = Field("", description='Container image of the worker in ECR; needed with target "aws".')
    quiet_seconds: float = Field(
        60.0, ge=1, description="Seconds without new drop-ins or work after which a drop-in job is closed."
    )
    max_tries: int = Field(4, ge=1, le=10, description="How often a shard is tried before it counts as dead.")
    invocation_timeout_s: int = Field(
        900, ge=10, le=3600, description="Seconds after which SageMaker gives an invocation up; in realtime mode 60."
    )
    compute: Compute = Compute()
    keep_warm: KeepWarm = KeepWarm()
    rollback: Rollback = Rollback()
    variants: tuple[Variant, ...] = Field(
        (),
        max_length=2,
        description="Deployments that share the requests of a realtime endpoint; without any there is one, called "
        "main.",
    )

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
