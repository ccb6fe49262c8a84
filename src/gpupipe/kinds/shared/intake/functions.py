"""Dispatch and guard, what calls them, and what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from gpupipe.functions.settings import FILE, VARIABLE, FunctionSettings
from gpupipe.kinds.shared.code import function_code
from gpupipe.kinds.shared.intake.parts import DISPATCH_TIMEOUT_S, Intake
from gpupipe.kinds.shared.intake.statements import (
    LAMBDA,
    dispatch_statements,
    guard_statements,
    schedule_role,
    writes_log,
)
from gpupipe.resources import Resource
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.role import Statement
from gpupipe.resources.schedule import Schedule
from gpupipe.settings import PipelineSettings
from gpupipe.tasks import TaskOptions

GUARD_TIMEOUT_S = 120
EVENTS_BATCH = 500
EVENTS_WINDOW_S = 2
MEMORY_MB = 512
ENVIRONMENT_MAX_BYTES = 4096
"""Lambda's limit for all variables of a function together."""

Handler = Callable[..., Any]


class Handlers(Protocol):
    """A kind's module that Lambda imports, and with its package all of the kind that ships there."""

    __name__: str
    __package__: str | None

    @property
    def dispatch(self) -> Handler: ...

    @property
    def guard(self) -> Handler: ...


def common_settings(parts: Intake, *, shard_items: Callable[[TaskOptions], int]) -> dict[str, Any]:
    """The fields of `FunctionSettings` that depend on no kind.

    `shard_items` says how many items a drop-in shard holds at most where they are done with these options.
    """
    settings, stack = parts.settings, parts.stack
    options = settings.task_options
    return {
        "stack": stack.id,
        "pipeline": parts.pipeline,
        "kind": settings.kind,
        "account": stack.account,
        "region": stack.region,
        "bucket": parts.bucket.name,
        "table": parts.table.name,
        "task": settings.task,
        "task_options": options.model_dump(mode="json"),
        "input_suffixes": sorted(options.input_suffixes),
        "shard_items": shard_items(options),
        "guard_function": stack.guard_function(parts.pipeline),
        "monthly_usd": settings.budget.monthly_usd,
        **_of_dropins(settings, shard_items),
    }


def _of_dropins(settings: PipelineSettings, shard_items: Callable[[TaskOptions], int]) -> dict[str, Any]:
    """By pattern, only what differs from the pipeline's own."""
    own, usual = settings.task_options, shard_items(settings.task_options)
    items = {pattern: shard_items(options) for pattern, options in settings.dropins.items()}
    return {
        "dropin_options": {pattern: dict(one.differing_from(own)) for pattern, one in settings.dropins.items()},
        "dropin_shard_items": {pattern: number for pattern, number in items.items() if number != usual},
    }


@dataclass(frozen=True, kw_only=True)
class Package:
    """The code of a pipeline's functions with the settings that they all are told."""

    handlers: Handlers
    settings: FunctionSettings

    @property
    def environment(self) -> dict[str, str]:
        """The settings, where Lambda lets a function be told so much; else where in the code they stand."""
        return {VARIABLE: self._text if self._fits else FILE}

    @property
    def code(self) -> bytes:
        """The zip."""
        package = self.handlers.__package__ or ""
        return function_code(package, () if self._fits else ((FILE, self._text.encode()),))

    @property
    def _fits(self) -> bool:
        return len(VARIABLE) + len(self._text.encode()) <= ENVIRONMENT_MAX_BYTES

    @cached_property
    def _text(self) -> str:
        """Without what is empty of drop-ins: there is not much room."""
        told = json.loads(self.settings.to_json())
        said = {name: value for name, value in told.items() if value or not name.startswith("dropin_")}
        return json.dumps(said, separators=(",", ":"))

    def function(
        self,
        parts: Intake,
        name: str,
        handler: Handler,
        statements: tuple[Statement, ...],
        *,
        timeout_s: int,
        **more: Any,
    ) -> Function:
        """The function `name`, which may log and do what `statements` say; `more` are fields of `Function`."""
        log = parts.log_group(parts.stack.function_log_group(name))
        return Function(
            stack=parts.stack,
            pipeline=parts.pipeline,
            name=name,
            handler=f"{self.handlers.__name__}.{handler.__name__}",
            role=parts.role(name, LAMBDA, writes_log(log), *statements),
            log_group=log,
            code=self.code,
            environment=self.environment,
            configuration_first=self._fits,  # the code may be one that had a file, and has none now
            timeout_s=timeout_s,
            **more,
        )


def dispatch_and_guard(
    parts: Intake, package: Package, *, sending: tuple[Statement, ...], acting: tuple[Statement, ...]
) -> tuple[Resource, ...]:
    """Both functions with their logs, roles and triggers.

    `sending` is what dispatch needs to hand out shards, `acting` what the guard needs for that and for machines.
    """
    dispatch = package.function(
        parts,
        parts.stack.dispatch_function(parts.pipeline),
        package.handlers.dispatch,
        (*dispatch_statements(parts), *sending),
        timeout_s=DISPATCH_TIMEOUT_S,
        memory_mb=MEMORY_MB,
    )
    guard = package.function(
        parts,
        parts.stack.guard_function(parts.pipeline),
        package.handlers.guard,
        (*guard_statements(parts), *acting),
        timeout_s=GUARD_TIMEOUT_S,
        memory_mb=MEMORY_MB,
        async_retries=0,  # the next minute is the better retry
    )
    return (*with_log_and_role(dispatch), *with_log_and_role(guard), *_triggers(parts, dispatch, guard))


def with_log_and_role(function: Function) -> tuple[Resource, ...]:
    """The function after what it needs."""
    return (function.log_group, function.role, function)


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
    role = schedule_role(parts)
    minute = Schedule(stack=stack, pipeline=pipeline, name=guard.name, function=guard, role=role)
    return (arrivals, role, minute)
