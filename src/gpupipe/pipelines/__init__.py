"""Pipeline kinds, one a folder: the kind's settings, and the resources that they describe.

Beside them, `intake` is what all those kinds share that take their jobs from a bucket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol, cast

from gpupipe.aws import Aws
from gpupipe.config import Config, PipelineSettings
from gpupipe.dropins import toml_key
from gpupipe.names import Stack
from gpupipe.resources import Resource
from gpupipe.resources.secret import Secret
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.resources.table import Table
from gpupipe.tasks import TaskOptions


class Provisioned(Protocol):
    """What a kind's settings know beyond `config.PipelineSettings`: what they make in AWS, and what using it costs."""

    def resources(
        self, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
    ) -> tuple[Resource, ...]:
        """Everything of the pipeline called `pipeline`; pure."""
        ...

    def not_offered(self, region: str) -> Iterator[str]:
        """What AWS does not have, each with its key below the pipeline; reads botocore's lists."""
        ...

    def cost_note(self, pipeline: str, region: str) -> str:
        """A sentence on what it costs while it works."""
        ...

    def log_groups(self, stack: Stack, pipeline: str) -> Mapping[str, str]:
        """Where what writes: a word for people ("guard") -> the name of its log group; what does the work first."""
        ...

    def shard_items(self, items: int, seconds_per_item: float) -> int:
        """How many items a shard of a job of `items` holds."""
        ...


def provisioned(settings: PipelineSettings) -> Provisioned:
    """`settings` as what a kind's settings also are; every kind's are."""
    return cast(Provisioned, settings)


def desired(config: Config, aws: Aws) -> tuple[Resource, ...]:
    """Everything that `config` wants in the account of `aws`: the stack's own things and each pipeline's. No call is
    made: of `aws`, only names and endpoints are used."""
    stack = replace(aws.stack, extra_tags=tuple(sorted(config.stack.tags.items())))
    table = ledger_table(stack)
    of_pipelines = [
        resource
        for name, settings in config.pipelines.items()
        for resource in provisioned(settings).resources(stack, name, table=table, endpoints=aws.endpoints)
    ]
    return (StateBucket.of(stack), table, *secrets_named(config, stack), *of_pipelines)


def secrets_named(config: Config, stack: Stack) -> tuple[Secret, ...]:
    """The secrets that the pipelines of `config` name, each once; they are the stack's."""
    names = {settings.model.token_secret for settings in config.pipelines.values()} - {""}
    return tuple(Secret.called(stack, name) for name in sorted(names))


def ledger_table(stack: Stack) -> Table:
    """The one table for the jobs of all pipelines; its keys are described in `gpuworker.ledger`."""
    return Table(stack=stack, name=stack.table, hash_key="pk", range_key="sk", ttl_attribute="expires_at")


def cost_notes(config: Config) -> tuple[str, ...]:
    """What each pipeline costs while it works, a sentence each."""
    return tuple(
        provisioned(settings).cost_note(name, config.stack.region) for name, settings in config.pipelines.items()
    )


def dropin_notes(config: Config) -> tuple[str, ...]:
    """What differs for drop-ins of certain projects, a sentence for each pattern; none where nothing does."""
    notes = [
        f"{name}: drop-ins of {toml_key(pattern)} are done with {_written(options, settings.task_options)}."
        for name, settings in config.pipelines.items()
        for pattern, options in settings.dropins.items()
    ]
    return (*notes, "A drop-in job that is open keeps the options it was opened with.") if notes else ()


def _written(options: TaskOptions, own: TaskOptions) -> str:
    different = options.differing_from(own)
    told = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in different.items()]
    return ", ".join(told) or "the pipeline's task_options"
