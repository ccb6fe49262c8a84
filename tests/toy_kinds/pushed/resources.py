"""Kind `pushed` as AWS resources: what takes jobs in, and one function more."""

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
from tests.toy_kinds.pushed import SHARD_ITEMS
from tests.toy_kinds.pushed.backend import handlers
from tests.toy_kinds.pushed.backend.settings import PushedSettings
from tests.toy_kinds.pushed.settings import PushedPipeline

WORK_TIMEOUT_S, WAIT_MAX_S = 60, 300


def resources(site: Site[PushedPipeline]) -> tuple[Resource, ...]:
    """Everything of the pipeline."""
    parts = Intake(site=site, table=ledger_table(site.stack), bucket=data_bucket(site), events=event_queue(site))
    package = Package(handlers=handlers, settings=_settings(parts, site.settings))
    work = _work(parts, package)
    calls = Statement(sid="CallWork", actions=("lambda:InvokeFunction",), resources=(work.arn,))
    return (
        parts.bucket,
        *with_dead_letters(parts.events),
        *with_log_and_role(work),
        *dispatch_and_guard(parts, package, sending=(calls,), acting=(calls,)),
        *uploads_tell_dispatch(parts),
    )


def _settings(parts: Intake, settings: PushedPipeline) -> PushedSettings:
    return PushedSettings(
        **common_settings(parts, shard_items=lambda _: SHARD_ITEMS),
        work_function=parts.name("work"),
        work_timeout_s=WORK_TIMEOUT_S,
        wait_max_s=WAIT_MAX_S,
        at_once=settings.at_once,
        max_receives=settings.max_tries,
    )


def _work(parts: Intake, package: Package) -> Function:
    statements = (
        uses_ledger(parts.table),
        reads_inputs(parts.bucket),
        writes_results(parts.bucket),
        lists(parts.bucket),
    )
    return package.function(
        parts,
        parts.name("work"),
        handlers.work,
        statements,
        timeout_s=WORK_TIMEOUT_S,
        async_retries=0,  # the guard sends again what it misses, and counts the tries
        async_max_age_s=WAIT_MAX_S,
    )
