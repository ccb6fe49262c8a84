"""Make a plan true: state bucket, lock, inventory, then the steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from gpupipe.aws import Aws
from gpupipe.errors import DataProtectedError, GpupipeError, StoppedError
from gpupipe.holder import nobody_held_between
from gpupipe.lock import Lock
from gpupipe.plan.execute import Gate
from gpupipe.plan.steps import Action, Event, Kept, Plan, Receipt, Step
from gpupipe.plan.work import Listener, Worksite, silent, work_of
from gpupipe.resources import Phase
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.state import Entry, Inventory, stale_plan


def apply(plan: Plan, aws: Aws, *, command: str = "gpupipe up", on_event: Listener = silent) -> Receipt:
    """Do what `plan` says; without changes no call is made.

    Raises NotOursError and DataProtectedError before anything is changed, LockedError, StalePlanError, ApplyError
    after all that could be done was done, LockLostError, StoppedError after Ctrl-C.
    """
    plan.check_ours()
    _check_nothing_blocked(plan, command)
    kept = tuple(Kept(kind=step.kind, name=step.name, reason=step.note) for step in plan.kept)
    if not plan.changes:
        return Receipt(kept=kept)
    begun = time.monotonic()
    first = _made_first(plan, aws, on_event)
    with locked(aws, command=command, on_event=on_event) as (lock, gate):
        if not nobody_held_between(plan.lock, lock.predecessor):
            raise stale_plan(aws)
        inventory = plan.inventory.written(aws, {**plan.inventory.entries, **_entries(plan)}.values())
        site = Worksite(aws=aws.gated(gate), gate=gate, on_event=on_event, total=len(plan.changes), done=first)
        with stopping(site, command=command):
            try:
                build(site, [step for step in plan.changes if step not in first])
                prune(site, plan.changes)
            finally:
                record(site, inventory, lock, absent=plan.absent)
    receipt = Receipt.of(site.done, kept=kept, seconds=time.monotonic() - begun)
    if site.failures:
        raise site.error(receipt, command=command)
    return receipt


def build(site: Worksite, steps: Iterable[Step]) -> None:
    """Create, update and replace, as much at once as the requirements allow."""
    built = [step for step in steps if step.action is not Action.DELETE]
    site.run(built, {step.id: [one.id for one in step.resource.requires()] for step in built})


def prune(site: Worksite, steps: Iterable[Step]) -> None:
    """Delete what is no longer wanted, after the building: the new is there and in use before the old goes.

    Nothing of a pipeline is deleted while a part of it that may still refer to it could not be changed.
    """
    failed = {failure.step.resource.pipeline: failure.step for failure in site.failures.values()}
    doomed = []
    for step in steps:
        if step.action is Action.DELETE and step.resource.pipeline in failed:
            site.skip(step, failed[step.resource.pipeline].what)
        elif step.action is Action.DELETE:
            doomed.append(step)
    for phase in Phase:
        delete_phase(site, doomed, phase)


def delete_phase(site: Worksite, steps: Iterable[Step], phase: Phase) -> None:
    """Delete those of `steps` that are of `phase`, what requires another before it; not what still is required."""
    batch = []
    for step in steps:
        blocker = next((failure.step.what for failure in site.failures.values() if _requires(failure.step, step)), "")
        if step.resource.phase is phase and blocker:
            site.skip(step, f"the deletion of {blocker}")
        elif step.resource.phase is phase:
            batch.append(step)
    site.run(batch, {step.id: [other.id for other in batch if _requires(other, step)] for step in batch})


def _requires(step: Step, other: Step) -> bool:
    return any(one.id == other.id for one in step.resource.requires())


@contextmanager
def locked(aws: Aws, *, command: str, on_event: Listener) -> Iterator[tuple[Lock, Gate]]:
    """Hold the stack's lock, and have a gate that lets changes through only while it is held."""
    lock = Lock(aws, command=command, say=lambda text: on_event(Event(kind="notice", text=text)))
    with lock:
        on_event(Event(kind="lock", text=f"locked stack {aws.stack.id}"))
        yield lock, Gate(lock.check)


@contextmanager
def stopping(site: Worksite, *, command: str) -> Iterator[None]:
    """Say after Ctrl-C what was done and how to go on; whatever ends the block, no call is made after it."""
    try:
        yield
    except StoppedError as error:
        raise StoppedError(
            f"stopped: {len(site.done)} of {site.total} steps were done and stay done.",
            hint=f"Go on with `{command}`.",
        ) from error
    finally:
        site.gate.close()


def record(site: Worksite, inventory: Inventory, lock: Lock, *, absent: Collection[str] = ()) -> None:
    """Write the inventory without what was deleted now or was `absent` before.

    Where that fails it lists too much, which a later plan with something to do mends.
    """
    gone = {*absent, *(step.id for step in site.done if step.action is Action.DELETE)}
    with contextlib.suppress(GpupipeError):
        lock.check()
        inventory.written(site.aws.gated(None), [entry for id_, entry in inventory.entries.items() if id_ not in gone])


def _entries(plan: Plan) -> Mapping[str, Entry]:
    """What will exist, whatever happens from here on: written down before any of it is made."""
    wanted = [step for step in plan.steps if step.action is not Action.DELETE and not step.resource.dynamic]
    return {step.id: Entry.of(step.resource) for step in wanted}


def _check_nothing_blocked(plan: Plan, command: str) -> None:
    if plan.blocked:
        losses = "; ".join(
            f"{step.what} must be replaced ({', '.join(sorted(step.changed_fields & step.resource.immutable))} changed)"
            for step in plan.blocked
        )
        names = " ".join(f"--delete-data {step.name}" for step in plan.blocked)
        raise DataProtectedError(
            f"{losses}, which deletes its data. Nothing was changed.",
            hint=f"Put the old value back in gpupipe.toml, or allow it: `{command} {names}`.",
        )


def _made_first(plan: Plan, aws: Aws, on_event: Listener) -> list[Step]:
    """Create the state bucket where there is none: the one change made without the lock, which it is to hold."""
    first = [step for step in plan.changes if step.action is Action.CREATE and isinstance(step.resource, StateBucket)]
    for step in first:
        on_event(Event(kind="started", text=f"{step.action} {step.what}", step=step, total=len(plan.changes)))
        work_of(step, aws)(lambda _: None)
        on_event(Event(kind="done", text=f"{step.action} {step.what}", step=step, done=1, total=len(plan.changes)))
    return first
