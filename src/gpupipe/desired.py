"""Everything that a configuration wants in an account, and what there is to say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.dropins import toml_key
from gpupipe.kinds import registry
from gpupipe.kinds.kind import AnyKind, AnySite, Site
from gpupipe.kinds.shared.intake.parts import ledger_table
from gpupipe.names import Stack
from gpupipe.resources import Resource
from gpupipe.resources.secret import Secret
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.tasks import TaskOptions


def desired(config: Config, aws: Aws) -> tuple[Resource, ...]:
    """The stack's own things and each pipeline's. No call is made: of `aws`, only names and endpoints are used."""
    stack = replace(aws.stack, extra_tags=tuple(sorted(config.stack.tags.items())))
    of_pipelines = [
        resource for site in sites(config, replace(aws, stack=stack)) for resource in _kind(site).resources(site)
    ]
    return (StateBucket.of(stack), ledger_table(stack), *secrets_named(config, stack), *of_pipelines)


def sites(config: Config, aws: Aws) -> Iterator[AnySite]:
    """Its pipelines, each with its place in the account."""
    for name, settings in config.pipelines.items():
        yield Site(stack=aws.stack, pipeline=name, settings=settings, endpoints=aws.endpoints)


def outputs(config: Config, aws: Aws) -> Mapping[str, Mapping[str, str]]:
    """By pipeline, what other programs may want to know of it."""
    return {site.pipeline: _kind(site).outputs(site) for site in sites(config, aws)}


def secrets_named(config: Config, stack: Stack) -> tuple[Secret, ...]:
    """The secrets that the pipelines of `config` name, each once; they are the stack's."""
    names = {settings.model.token_secret for settings in config.pipelines.values()} - {""}
    return tuple(Secret.called(stack, name) for name in sorted(names))


def cost_notes(config: Config, aws: Aws) -> tuple[str, ...]:
    """What each pipeline costs while it works, a sentence each."""
    return tuple(_kind(site).cost_note(site) for site in sites(config, aws))


def _kind(site: AnySite) -> AnyKind:
    return registry.of(site.settings)


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
