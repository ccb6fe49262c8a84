"""Dispatch and guard, what calls them, and what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gpupipe.config import PipelineSettings
from gpupipe.dropins import toml_key
from gpupipe.errors import ConfigError
from gpupipe.functions.settings import VARIABLE, FunctionSettings
from gpupipe.pipelines.code import function_code
from gpupipe.pipelines.intake.parts import DISPATCH_TIMEOUT_S, Intake
from gpupipe.pipelines.intake.statements import dispatch_role, guard_role, schedule_role
from gpupipe.resources import Resource
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.role import Statement
from gpupipe.resources.schedule import Schedule
from gpupipe.tasks import TaskOptions

GUARD_TIMEOUT_S = 120
EVENTS_BATCH = 500
EVENTS_WINDOW_S = 2
MEMORY_MB = 512
ENVIRONMENT_MAX_BYTES = 4096
"""Lambda's limit for all variables of a function together."""


def told(
    parts: Intake, *, shard_items: Callable[[TaskOptions], int], quiet_seconds: float, **own: Any
) -> dict[str, str]:
    """The environment of the pipeline's functions; `own` are the fields of FunctionSettings of its kind alone.

    `shard_items` says how many items a drop-in shard holds at most where they are done with these options. Raises
    ConfigError where Lambda would not take so much.
    """
    settings, stack = parts.settings, parts.stack
    options = settings.task_options
    document = FunctionSettings(
        stack=stack.id,
        pipeline=parts.pipeline,
        kind=settings.kind,
        account=stack.account,
        region=stack.region,
        bucket=parts.bucket.name,
        table=parts.table.name,
        task=settings.task,
        task_options=options.model_dump(mode="json"),
        input_suffixes=sorted(options.input_suffixes),
        shard_items=shard_items(options),
        guard_function=stack.guard_function(parts.pipeline),
        quiet_seconds=quiet_seconds,
        monthly_usd=settings.budget.monthly_usd,
        **_of_dropins(settings, shard_items),
        **own,
    )
    return {VARIABLE: _fitting(parts, document)}


def _of_dropins(settings: PipelineSettings, shard_items: Callable[[TaskOptions], int]) -> dict[str, Any]:
    """By pattern, only what differs from the pipeline's own: there is not much room."""
    own, usual = settings.task_options, shard_items(settings.task_options)
    items = {pattern: shard_items(options) for pattern, options in settings.dropins.items()}
    return {
        "dropin_options": {pattern: dict(one.differing_from(own)) for pattern, one in settings.dropins.items()},
        "dropin_shard_items": {pattern: number for pattern, number in items.items() if number != usual},
    }


def _fitting(parts: Intake, document: FunctionSettings) -> str:
    size = _bytes(document)
    if size <= ENVIRONMENT_MAX_BYTES:
        return _text(document)
    others = _bytes(replace(document, dropin_options={}, dropin_shard_items={}))
    if document.dropin_options and others < ENVIRONMENT_MAX_BYTES:
        raise _too_long_for_dropins(parts.pipeline, document.dropin_options, size=size, others=others)
    over, options = size - ENVIRONMENT_MAX_BYTES, len(_json(document.task_options))
    raise ConfigError(
        f"pipelines.{parts.pipeline}: its settings are {size:,} bytes long, {over:,} bytes longer than Lambda lets a "
        f"function be told: {ENVIRONMENT_MAX_BYTES:,} fit, of which task_options take {options:,}.",
        hint="Shorten stack.tags, task_options (prompts), dropins or compute.instance_types.",
    )


def _too_long_for_dropins(
    pipeline: str, options: Mapping[str, Mapping[str, Any]], *, size: int, others: int
) -> ConfigError:
    longest = max(options, key=lambda pattern: len(_json(options[pattern])))
    return ConfigError(
        f"pipelines.{pipeline}.dropins: the options are {size - others:,} bytes long, and "
        f"{ENVIRONMENT_MAX_BYTES - others:,} bytes fit: Lambda lets a function be told {ENVIRONMENT_MAX_BYTES:,}, of "
        f"which the pipeline's other settings take {others:,}.",
        hint=f"The longest are those of {toml_key(longest)}, {len(_json(options[longest])):,} bytes. Put what most "
        "projects share into task_options, let one pattern stand for several projects, or write fewer or shorter "
        "prompts; `gpupipe submit` takes options of any length.",
    )


def _bytes(document: FunctionSettings) -> int:
    """What Lambda counts: the variable's name and its value."""
    return len(VARIABLE) + len(_text(document).encode())


def _text(document: FunctionSettings) -> str:
    """Without what is empty of drop-ins: there is not much room, and older functions refuse keys they do not know."""
    told = json.loads(document.to_json())
    return _json({name: value for name, value in told.items() if value or not name.startswith("dropin_")})


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def dispatch_and_guard(
    parts: Intake, environment: Mapping[str, str], *, sending: tuple[Statement, ...], acting: tuple[Statement, ...]
) -> tuple[Resource, ...]:
    """Both functions with their logs, roles and triggers.

    `sending` is what dispatch needs to hand out shards, `acting` what the guard needs for that and for machines.
    """
    dispatch, guard = _dispatch(parts, environment, sending), _guard(parts, environment, acting)
    return (*with_log_and_role(dispatch), *with_log_and_role(guard), *_triggers(parts, dispatch, guard))


def with_log_and_role(function: Function) -> tuple[Resource, ...]:
    """The function after what it needs."""
    return (function.log_group, function.role, function)


def _dispatch(parts: Intake, environment: Mapping[str, str], sending: tuple[Statement, ...]) -> Function:
    name = parts.stack.dispatch_function(parts.pipeline)
    log = parts.log_group(parts.stack.function_log_group(name))
    return Function(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=name,
        handler="gpupipe.functions.dispatch.handler",
        role=dispatch_role(parts, log, *sending),
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=DISPATCH_TIMEOUT_S,
        memory_mb=MEMORY_MB,
    )


def _guard(parts: Intake, environment: Mapping[str, str], acting: tuple[Statement, ...]) -> Function:
    name = parts.stack.guard_function(parts.pipeline)
    log = parts.log_group(parts.stack.function_log_group(name))
    return Function(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=name,
        handler="gpupipe.functions.guard.handler",
        role=guard_role(parts, log, *acting),
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=GUARD_TIMEOUT_S,
        memory_mb=MEMORY_MB,
        async_retries=0,  # the next minute is the better retry
    )


def _triggers(parts: Intake, dispatch: Function, guard: Function) -> tuple[Resource, ...]:
    stack, pipeline = parts.stack, parts.pipeline
    arrivals = EventSource(
        stack=stack,
        pipeline=pipeline,
        name=parts.events.name,
        function=dispatch,
        queue=parts.events,
        batch_size=EVENTS_BATCH,
        batch_window_s=EVENTS_WINDOW_S,
    )
    role = schedule_role(stack, pipeline)
    minute = Schedule(stack=stack, pipeline=pipeline, name=guard.name, function=guard, role=role)
    return (arrivals, role, minute)
