"""A configuration in its account: plan, up, down and status, as the CLI and the local target call them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gpupipe import aws as aws_access
from gpupipe.aws import Aws, absent_ok, explained
from gpupipe.config import Config
from gpupipe.desired import cost_notes, desired, dropin_notes
from gpupipe.desired import outputs as desired_outputs
from gpupipe.errors import ConfigError, NotDeployedError, UsageError
from gpupipe.holder import Holder
from gpupipe.kinds import registry
from gpupipe.offers import region_mistake
from gpupipe.plan import (
    Action,
    Listener,
    Plan,
    Receipt,
    apply,
    check_names,
    plan,
    plan_deletion,
    search,
    silent,
    tear_down,
)
from gpupipe.resources import KINDS, kind_class
from gpupipe.state import Inventory
from gpuworker.ledger import Ledger, MachineState

OPEN_JOBS_NAMED = 5
STATES = {Action.KEEP: "present", Action.CREATE: "missing", Action.UPDATE: "changed", Action.REPLACE: "changed"}


def connect(config: Config) -> Aws:
    """The person's own account, for target "aws". Raises CredentialsError saying what is missing and how to get it."""
    if config.stack.target != "aws":
        raise UsageError(f"target is {config.stack.target!r}: its own account is opened by gpupipe.local.")
    stack = config.stack
    return aws_access.connect(stack.name, stack.environment, stack.region, stack.tags)


def plan_up(config: Config, aws: Aws, *, delete_data: Collection[str] = (), pipeline: str = "") -> Plan:
    """What `up` would do. Reads only: about one call a resource, all at once.

    `delete_data` names (AWS name or key) what may be deleted or replaced with all that it holds. With `pipeline`, only
    what that one is and needs; the stack's other pipelines are left as they are. Raises ConfigError where it is
    unknown.
    """
    within = config.only(pipeline) if pipeline else config
    planned = plan(aws, desired(config, aws), delete_data=delete_data)
    if pipeline:
        planned = planned.within(pipeline, {resource.id for resource in desired(within, aws)})
        check_names(delete_data, planned.steps)
    return replace(planned, notes=_notes(within, aws))


def check_offers(config: Config) -> None:
    """Before an `up`: AWS has the region, and all that the pipelines name of it. Raises ConfigError with every mistake.

    The local target is held to it too, since it rehearses what AWS would do.
    """
    region = config.stack.region
    found = [f"stack.region: {why}"] if (why := region_mistake(region)) else []
    for name, settings in config.pipelines.items():
        found += [f"pipelines.{name}.{mistake}" for mistake in registry.of(settings).not_offered(settings, region)]
    if found:
        raise ConfigError("\n  ".join(["AWS does not have what the configuration names:", *found]))


def _notes(config: Config, aws: Aws) -> tuple[str, ...]:
    notes = (*cost_notes(config, aws), *dropin_notes(config))
    if config.stack.target == "local":
        return ("EmulatedAccount: nothing is billed. The prices are what it would cost on AWS.", *notes)
    return notes


def up(
    config: Config,
    aws: Aws,
    *,
    plan: Plan | None = None,
    delete_data: Collection[str] = (),
    command: str = "gpupipe up",
    on_event: Listener | None = None,
) -> Receipt:
    """Make the account as `config` says: do `plan`, as made by `plan_up`, or make one now.

    Raises NotOursError or DataProtectedError before anything is changed; LockedError; StalePlanError where the stack
    changed since the plan was made; ApplyError when all that could be done was done; StoppedError after Ctrl-C.
    """
    planned = plan or plan_up(config, aws, delete_data=delete_data)
    return apply(planned, aws, command=command, on_event=on_event or silent)


def plan_down(config: Config, aws: Aws, *, keep_data: bool = False, pipeline: str = "") -> Plan:
    """What `down` would delete: what the config names, the inventory knows, and a search of the account finds.

    With `pipeline`, only what is that one's own: what the stack has for all of them stays. Raises ConfigError where it
    is unknown.
    """
    if pipeline:
        config.pipeline(pipeline)
    planned = plan_deletion(aws, desired(config, aws), keep_data=keep_data)
    if not pipeline:
        return planned
    return replace(planned.within(pipeline), notes=() if keep_data else _of_open_jobs(aws, pipeline))


def _of_open_jobs(aws: Aws, pipeline: str) -> tuple[str, ...]:
    """What a person should know who deletes the pipeline: its open jobs go with their images."""
    with explained(f"look for open jobs of pipeline {pipeline}"):
        jobs = absent_ok(partial(_ledger(aws).active_jobs, pipeline)) or []
    if not jobs:
        return ()
    names = ", ".join(job.job for job in jobs[:OPEN_JOBS_NAMED]) + (", …" if len(jobs) > OPEN_JOBS_NAMED else "")
    what = "1 job is open and goes" if len(jobs) == 1 else f"{len(jobs)} jobs are open and go"
    return (f"{what} too: {names}",)


def _ledger(aws: Aws) -> Ledger:
    return Ledger(aws.client("dynamodb"), aws.stack.table)


def down(
    config: Config,
    aws: Aws,
    *,
    plan: Plan | None = None,
    keep_data: bool = False,
    command: str = "gpupipe down",
    on_event: Listener | None = None,
) -> Receipt:
    """Delete the whole stack and search for leftovers; the receipt says what was deleted, kept and why.

    Of a plan for one pipeline, that one, and unless its data is kept what the ledger knows of its jobs.

    Raises LockedError, ApplyError (its `receipt` names the leftovers), StoppedError after Ctrl-C.
    """
    planned = plan or plan_down(config, aws, keep_data=keep_data)
    if not planned.pipeline:
        return tear_down(planned, aws, command=command, on_event=on_event or silent)
    then = partial(_close_books, aws, planned.pipeline, keep_data)
    return tear_down(planned, aws, command=command, on_event=on_event or silent, then=then)


def _close_books(aws: Aws, pipeline: str, keep_data: bool) -> None:
    """Its machines have ended, and their cost stays known. Its jobs are forgotten with their images, or a pipeline that
    is made again under the name would go on with them."""

    def close() -> None:
        ledger = _ledger(aws)
        for record in ledger.machines(pipeline):
            if record.is_up:
                ledger.end_run(record, MachineState.TERMINATED, stopped_at=time.time(), reason="gpupipe down")
        if not keep_data:
            ledger.forget_pipeline(pipeline)

    with explained(f"close the books of pipeline {pipeline}"):
        absent_ok(close)


def known_outputs(config: Config, aws: Aws) -> Mapping[str, Mapping[str, str]]:
    """By pipeline that there is, what other programs may want to know of it; none where nothing is there."""
    entries = Inventory.read(aws).entries.values()
    there = {one.pipeline for one in entries if one.kind in KINDS and not kind_class(one.kind).holds_data}
    return {name: values for name, values in desired_outputs(config, aws).items() if name in there}


def outputs(config: Config, aws: Aws, *, pipeline: str = "") -> Mapping[str, Mapping[str, str]]:
    """As `known_outputs`; of one pipeline, where it is named.

    Raises NotDeployedError where there is none, ConfigError for an unknown pipeline.
    """
    found = known_outputs(config.only(pipeline) if pipeline else config, aws)
    if not found:
        what = f"pipeline {pipeline}" if pipeline else "stack"
        raise NotDeployedError(f"the {what} of {aws.stack.id} is not there.", hint="Run `gpupipe up` first.")
    return found


@dataclass(frozen=True, kw_only=True)
class ResourceStatus:
    """One wanted resource."""

    kind: str
    name: str
    key: str
    pipeline: str
    state: str
    """present, changed, missing, or foreign where something else has its name."""
    note: str = ""
    usd_per_month: float = 0.0
    """Standing cost, were it there."""


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """What there is of a stack."""

    stack: str
    account: str
    region: str
    resources: tuple[ResourceStatus, ...]
    machines: tuple[str, ...]
    """Instance ids of all that exist, stopped ones included."""
    unwanted: tuple[str, ...]
    """What is ours and not in the configuration: `up` would delete it, or keep it for its data."""
    locked_by: str
    """Who is changing the stack right now; "" is nobody."""
    broken_off: str
    """The command that was killed while it changed the stack, where none has changed it since; "" is none."""
    usd_per_month: float
    """Standing cost of what is there."""

    @property
    def is_deployed(self) -> bool:
        """Is everything there that the configuration names?"""
        return all(resource.state in {"present", "changed"} for resource in self.resources)

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "resources": [vars(one) for one in self.resources], "is_deployed": self.is_deployed}


def status(config: Config, aws: Aws) -> StackStatus:
    """What exists of the stack, compared with what `config` wants; reads only."""
    planned = plan_up(config, aws)
    wanted = [step for step in planned.steps if step.action is not Action.DELETE]
    foreign = [
        ResourceStatus(
            kind=one.resource.kind,
            name=one.resource.aws_name,
            key=one.resource.key,
            pipeline=one.resource.pipeline,
            state="foreign",
            note=one.whose,
        )
        for one in planned.conflicts
    ]
    known = [
        ResourceStatus(
            kind=step.kind,
            name=step.name,
            key=step.key,
            pipeline=step.resource.pipeline,
            state=STATES[step.action],
            note=step.note or ", ".join(sorted(step.changed_fields)),
            usd_per_month=step.usd_per_month,
        )
        for step in wanted
    ]
    there = [step for step in wanted if step.action is not Action.CREATE]
    return StackStatus(
        stack=aws.stack.id,
        account=aws.stack.account,
        region=aws.stack.region,
        resources=(*known, *foreign),
        machines=tuple(one.name for one in search(aws, ["machine"])) if there else (),
        unwanted=tuple(step.what for step in planned.steps if step.action is Action.DELETE),
        **(_of_lock(aws) if planned.has_state else {"locked_by": "", "broken_off": ""}),
        usd_per_month=round(sum(step.usd_per_month for step in there), 2),
    )


def _of_lock(aws: Aws) -> dict[str, str]:
    """`locked_by` and `broken_off` of StackStatus."""
    with explained("read the stack's lock"):
        holder, _ = Holder.read(aws)
    if holder is None or holder.released:
        return {"locked_by": "", "broken_off": ""}
    if not holder.is_held:
        return {"locked_by": "", "broken_off": "" if holder.damage else holder.summary}
    named = holder.summary if holder.damage else f"{holder.who} ({holder.command}) since {holder.since}"
    return {"locked_by": named, "broken_off": ""}
