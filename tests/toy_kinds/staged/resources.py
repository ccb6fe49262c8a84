"""Kind `staged` as AWS resources: what takes jobs in, two stages, and a topic that calls a third function."""

from __future__ import annotations

from gpupipe.kinds.kind import Site
from gpupipe.kinds.shared.intake.functions import Package, common_settings, dispatch_and_guard, with_log_and_role
from gpupipe.kinds.shared.intake.parts import (
    Intake,
    data_bucket,
    event_queue,
    ledger_table,
    uploads_tell_dispatch,
    with_dead_letters,
)
from gpupipe.kinds.shared.intake.statements import lists, reads_inputs, uses_ledger, writes_results
from gpupipe.resources import Resource
from gpupipe.resources.function import Function
from gpupipe.resources.role import Statement
from gpupipe.resources.subscription import Subscription
from gpupipe.resources.topic import Topic
from tests.toy_kinds.staged import SHARD_ITEMS
from tests.toy_kinds.staged.backend import handlers
from tests.toy_kinds.staged.backend.settings import StagedSettings
from tests.toy_kinds.staged.settings import StagedPipeline

STAGE_TIMEOUT_S, WAIT_MAX_S = 60, 300


def resources(site: Site[StagedPipeline]) -> tuple[Resource, ...]:
    """Everything of the pipeline."""
    parts = Intake(site=site, table=ledger_table(site.stack), bucket=data_bucket(site), events=event_queue(site))
    topic = Topic(stack=site.stack, pipeline=site.pipeline, name=parts.name("ended"))
    package = Package(handlers=handlers, settings=_settings(parts, site.settings, topic))
    finish = _stage(parts, package, handlers.finish, _tells(topic))
    prepare = _stage(parts, package, handlers.prepare, _tells(topic), _calls(finish))
    begins = _calls(prepare)
    return (
        parts.bucket,
        *with_dead_letters(parts.events),
        topic,
        *with_log_and_role(finish),
        *with_log_and_role(prepare),
        *_callback(parts, package, topic, begins),
        *dispatch_and_guard(parts, package, sending=(begins,), acting=(begins,)),
        *uploads_tell_dispatch(parts),
    )


def _settings(parts: Intake, settings: StagedPipeline, topic: Topic) -> StagedSettings:
    return StagedSettings(
        **common_settings(parts, shard_items=lambda _: SHARD_ITEMS),
        prepare_function=parts.name("prepare"),
        finish_function=parts.name("finish"),
        topic_arn=topic.arn,
        stage_timeout_s=STAGE_TIMEOUT_S,
        wait_max_s=WAIT_MAX_S,
        at_once=settings.at_once,
        max_receives=settings.max_tries,
    )


def _stage(parts: Intake, package: Package, handler: handlers.Stage, *statements: Statement) -> Function:
    return package.function(
        parts,
        parts.name(handler.__name__),
        handler,
        (*_works(parts), *statements),
        timeout_s=STAGE_TIMEOUT_S,
        async_retries=0,  # the guard begins an execution anew that it misses
        async_max_age_s=WAIT_MAX_S,
    )


def _callback(parts: Intake, package: Package, topic: Topic, begins: Statement) -> tuple[Resource, ...]:
    name = parts.stack.callback_function(parts.pipeline)
    callback = package.function(
        parts,
        name,
        handlers.callback,
        (*_works(parts), begins),
        timeout_s=STAGE_TIMEOUT_S,
        async_retries=2,
        async_max_age_s=3600,
    )
    called = Subscription(stack=parts.stack, pipeline=parts.pipeline, name=topic.name, topic=topic, function=callback)
    return (*with_log_and_role(callback), called)


def _works(parts: Intake) -> tuple[Statement, ...]:
    return (uses_ledger(parts.table), reads_inputs(parts.bucket), writes_results(parts.bucket), lists(parts.bucket))


def _calls(function: Function) -> Statement:
    return Statement(sid="CallNext", actions=("lambda:InvokeFunction",), resources=(function.arn,))


def _tells(topic: Topic) -> Statement:
    return Statement(sid="TellEnd", actions=("sns:Publish",), resources=(topic.arn,))
