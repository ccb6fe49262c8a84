"""The functions of a `queue` pipeline: dispatch, guard, and what calls them."""

from __future__ import annotations

from collections.abc import Mapping

from gpupipe.costs import price_usd_per_hour
from gpupipe.errors import ConfigError
from gpupipe.functions.settings import VARIABLE, FunctionSettings
from gpupipe.pipelines.code import function_code
from gpupipe.pipelines.queue.machines import Machines, machine_tags
from gpupipe.pipelines.queue.parts import DISPATCH_TIMEOUT_S, Parts
from gpupipe.pipelines.queue.roles import dispatch_role, guard_role, schedule_role
from gpupipe.resources import Resource
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.schedule import Schedule
from gpuworker import contract

GUARD_TIMEOUT_S = 120
EVENTS_BATCH = 500
EVENTS_WINDOW_S = 2
ENVIRONMENT_MAX_BYTES = 4096
"""Lambda's limit for all variables of a function together."""


def functions_of(parts: Parts, machines: Machines) -> tuple[Resource, ...]:
    """Both functions with their logs, roles and triggers."""
    environment = {VARIABLE: _fitting(parts, _function_settings(parts, machines.template).to_json())}
    dispatch, guard = _dispatch(parts, environment), _guard(parts, environment, machines)
    made = [(function.log_group, function.role, function) for function in (dispatch, guard)]
    return (*made[0], *made[1], *_triggers(parts, dispatch, guard))


def _fitting(parts: Parts, told: str) -> str:
    """`told`, if Lambda takes it. Raises ConfigError."""
    over = len(VARIABLE) + len(told.encode()) - ENVIRONMENT_MAX_BYTES
    if over > 0:
        raise ConfigError(
            f"pipelines.{parts.pipeline}: its settings are {over:,} bytes longer than Lambda lets a function be told.",
            hint="Shorten stack.tags, task_options (prompts) or compute.instance_types.",
        )
    return told


def _dispatch(parts: Parts, environment: Mapping[str, str]) -> Function:
    stack, pipeline = parts.stack, parts.pipeline
    name = stack.dispatch_function(pipeline)
    log = parts.log_group(stack.function_log_group(name))
    role = dispatch_role(
        stack, pipeline, bucket=parts.bucket, events=parts.events, work=parts.work, table=parts.table, log=log
    )
    return Function(
        stack=stack,
        pipeline=pipeline,
        name=name,
        handler="gpupipe.functions.dispatch.handler",
        role=role,
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=DISPATCH_TIMEOUT_S,
        memory_mb=512,
    )


def _guard(parts: Parts, environment: Mapping[str, str], machines: Machines) -> Function:
    stack, pipeline = parts.stack, parts.pipeline
    name = stack.guard_function(pipeline)
    log = parts.log_group(stack.function_log_group(name))
    worker = machines.template.profile.role
    role = guard_role(stack, pipeline, bucket=parts.bucket, work=parts.work, table=parts.table, log=log, worker=worker)
    return Function(
        stack=stack,
        pipeline=pipeline,
        name=name,
        handler="gpupipe.functions.guard.handler",
        role=role,
        log_group=log,
        code=function_code(),
        environment=environment,
        timeout_s=GUARD_TIMEOUT_S,
        memory_mb=512,
        async_retries=0,  # the next minute is the better retry
    )


def _triggers(parts: Parts, dispatch: Function, guard: Function) -> tuple[Resource, ...]:
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


def _function_settings(parts: Parts, template: LaunchTemplate) -> FunctionSettings:
    settings, compute = parts.settings, parts.settings.compute
    options = settings.task_options
    return FunctionSettings(
        stack=parts.stack.id,
        pipeline=parts.pipeline,
        kind=settings.kind,
        account=parts.stack.account,
        region=parts.stack.region,
        bucket=parts.bucket.name,
        table=parts.table.name,
        work_queue_url=parts.work_url,
        task=settings.task,
        task_options=options.model_dump(mode="json"),
        input_suffixes=sorted(options.input_suffixes),
        shard_items=contract.shard_size(
            contract.MAX_SHARD_ITEMS, seconds_per_item=options.seconds_per_item(), max_instances=1
        ),
        guard_function=parts.stack.guard_function(parts.pipeline),
        min_images_to_start=settings.min_images_to_start,
        max_wait_minutes=settings.max_wait_minutes,
        quiet_seconds=settings.quiet_seconds,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        launch_template=template.name,
        instance_types=list(compute.instance_types),
        subnet_ids=list(settings.network.subnet_ids),
        market=compute.market,
        max_instances=compute.max_instances,
        on_idle=compute.on_idle,
        idle_minutes=compute.idle_minutes,
        max_processing_hours=compute.max_processing_hours,
        monthly_usd=settings.budget.monthly_usd,
        prices_usd_per_hour={
            one: price_usd_per_hour(one, compute.market, parts.stack.region) for one in compute.instance_types
        },
        tags=machine_tags(parts.stack, parts.pipeline),
    )
