"""Kind `endpoint`: S3 -> event queue -> dispatch -> SageMaker, async from zero instances or in real time -> S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from gpupipe.config import SAGEMAKER_TYPE, VARIANT_NAME, DisagreementError, Frozen, PipelineSettings
from gpupipe.pipelines.endpoint.agreement import MAIN, mistakes, mistakes_on_aws, not_offered, realtime_defaults
from gpuworker.contract import MAX_SHARD_ITEMS, shard_size

if TYPE_CHECKING:
    from gpupipe.names import Stack
    from gpupipe.resources import Resource
    from gpupipe.resources.table import Table
    from gpupipe.tasks import TaskOptions

InstanceType = Annotated[str, Field(pattern=SAGEMAKER_TYPE)]
AWS_SCALES_IN_MINUTES = 15
"""Target tracking takes instances off after so long with little to do; none can be told to wait longer."""
SHARES_MAX = 64
"""Of a small job: more would be shards of one item for nothing."""
SHARD_SHARE_OF_TIMEOUT = 0.4
"""What a shard may take of an invocation's time by the estimate: a container stops at 0.8, and instances differ."""


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

    def not_offered(self, region: str) -> Iterator[str]:
        """That SageMaker is not in the region, and instance types that it does not have."""
        return not_offered(self, region)

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

    def resources(
        self, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
    ) -> tuple[Resource, ...]:
        """Everything of the pipeline called `pipeline`; pure. `endpoints` are the emulators', or none."""
        from gpupipe.pipelines.endpoint.resources import resources  # settings are read by every command, this by few

        return resources(self, stack, pipeline, table=table, endpoints=endpoints)

    def log_groups(self, stack: Stack, pipeline: str) -> Mapping[str, str]:
        """Source -> log group."""
        second = "callback" if self.mode == "async" else "forward"
        functions = {"dispatch": stack.dispatch_function, "guard": stack.guard_function}
        functions[second] = stack.callback_function if self.mode == "async" else stack.forward_function
        return {
            "endpoint": stack.endpoint_log_group(pipeline),
            **{source: stack.function_log_group(name(pipeline)) for source, name in functions.items()},
        }

    def shard_items(self, items: int, seconds_per_item: float) -> int:
        """One in real time; else a share for each request that may run at once, within an invocation's time."""
        if self.mode == "realtime":
            return 1
        compute = self.compute
        shares = compute.max_instances * compute.max_concurrency * len(self.deployed)
        by_share = shard_size(items, seconds_per_item=seconds_per_item, max_instances=min(shares, SHARES_MAX))
        return min(by_share, self._items_in_time(seconds_per_item))

    def drop_in_shard_items(self, options: TaskOptions | None = None) -> int:
        """The most items of a drop-in shard, with the pipeline's options or others: nobody knows how many will come."""
        if self.mode == "realtime":
            return 1
        seconds = (options or self.task_options).seconds_per_item()
        by_time = shard_size(MAX_SHARD_ITEMS, seconds_per_item=seconds, max_instances=1)
        return min(by_time, self._items_in_time(seconds))

    def _items_in_time(self, seconds_per_item: float) -> int:
        """What fits into an invocation while the instance works on as many as it may."""
        each_s = max(seconds_per_item, 1e-3) * self.compute.max_concurrency
        return max(1, int(SHARD_SHARE_OF_TIMEOUT * self.invocation_timeout_s / each_s))

    def cost_note(self, pipeline: str, region: str) -> str:
        """What it costs while it works, and what at rest."""
        from gpupipe.pipelines.endpoint.pricing import cost_note

        return cost_note(self, pipeline, region)
