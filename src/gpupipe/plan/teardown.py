"""Delete a whole stack, or one pipeline of it, phase by phase, and prove by searching that nothing of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from gpupipe.aws import Aws
from gpupipe.holder import nobody_held_between
from gpupipe.lock import Lock
from gpupipe.plan.apply import delete_phase, locked, record, stopping
from gpupipe.plan.decide import observe, search
from gpupipe.plan.execute import Gate
from gpupipe.plan.steps import Kept, Plan, Receipt, Step
from gpupipe.plan.work import Listener, Worksite, silent
from gpupipe.resources import KINDS, Found, Phase, kind_class
from gpupipe.state import Entry, stale_plan

ROUNDS = 2
"""What the search after the first round still finds is deleted in a second."""
MACHINE_SEARCHES = 2
"""An invocation of the guard still in flight may launch one more machine after the first search."""


def tear_down(
    plan: Plan,
    aws: Aws,
    *,
    command: str = "gpupipe down",
    on_event: Listener = silent,
    then: Callable[[], object] = lambda: None,
) -> Receipt:
    """Delete what `plan` says and all that is found beside it; the receipt tells what is left, and why.

    Where nothing is left, does what comes `then`, before another command may change the stack.

    Raises LockedError, StalePlanError before anything is deleted, ApplyError (with the receipt) where something could
    not be deleted, LockLostError, and StoppedError after Ctrl-C.
    """
    if not plan.changes and not plan.unknown and not _listed_in_vain(plan):
        then()
        return Receipt(kept=_kept(plan), searched=True)
    begun = time.monotonic()
    with _locked_where_possible(plan, aws, command, on_event) as (lock, gate):
        if lock is not None and not nobody_held_between(plan.lock, lock.predecessor):
            raise stale_plan(aws)  # what is there now may be more than a person agreed to, or to be kept
        known = {step.id: step.resource for step in plan.steps}
        site = Worksite(aws=aws.gated(gate), gate=gate, on_event=on_event, total=len(plan.changes), known=known)
        with stopping(site, command=command):
            left = _delete(site, plan, lock)
            if not left and not site.failures:
                then()
    receipt = Receipt.of(
        site.done,
        kept=_kept(plan),
        leftovers=_names(left) + _names(plan.unknown),
        searched=True,
        seconds=time.monotonic() - begun,
    )
    if site.failures or receipt.leftovers:
        raise site.error(receipt, command=command)
    return receipt


def _delete(site: Worksite, plan: Plan, lock: Lock | None) -> tuple[Found, ...]:
    """All phases; the state bucket only when nothing else is left, as it knows what is. Returns what is left."""
    steps = [step for step in plan.changes if step.resource.phase is not Phase.STATE]
    is_clean = False
    try:
        for _ in range(ROUNDS):
            _delete_round(site, plan, steps)
            left = _left(site, plan)
            site.forgive()
            is_clean = not left and not site.failures
            if not left:
                break
            steps = site.also(left)
    finally:
        if lock is not None:
            record(site, plan.inventory, lock, absent=_listed_in_vain(plan) if is_clean else ())
    if not left and not site.failures and not plan.unknown:
        for step in plan.changes:
            if step.resource.phase is Phase.STATE and lock is not None:
                lock.abandon()
        delete_phase(site, plan.changes, Phase.STATE)
    return left


def _listed_in_vain(plan: Plan) -> frozenset[str]:
    """What the inventory has of a plan's one pipeline, once nothing of that is found any more."""
    kept = {step.id for step in plan.kept}
    known = plan.inventory.entries
    return frozenset(
        id_
        for id_, entry in known.items()
        if plan.pipeline and entry.pipeline == plan.pipeline and entry.kind in KINDS and id_ not in kept
    )


def _delete_round(site: Worksite, plan: Plan, steps: Iterable[Step]) -> None:
    steps = list(steps)
    for phase in Phase:
        if phase is Phase.MACHINES:
            _delete_machines(site, plan, steps)
        elif phase is not Phase.STATE:
            delete_phase(site, steps, phase)


def _delete_machines(site: Worksite, plan: Plan, steps: Iterable[Step]) -> None:
    """Those that were planned, and those launched since, up to now and up to when the first were gone."""
    delete_phase(site, steps, Phase.MACHINES)
    dynamic = [kind for kind in KINDS if kind_class(kind).dynamic]
    for _ in range(MACHINE_SEARCHES):
        delete_phase(site, site.also(_found(site, plan, dynamic)), Phase.MACHINES)


def _found(site: Worksite, plan: Plan, kinds: Collection[str]) -> tuple[Found, ...]:
    """What the account has of these kinds that the plan is about."""
    return tuple(one for one in search(site.aws, kinds) if plan.is_about(one.resource.pipeline))


def _left(site: Worksite, plan: Plan) -> tuple[Found, ...]:
    """What a search of the account still finds; lists that lag behind a deletion are asked a second time."""
    site.say("search", "searching the account for leftovers")
    spared = {step.id for step in plan.kept}
    every = _found(site, plan, KINDS)
    found = [one for one in every if one.id not in spared and one.resource.phase is not Phase.STATE]
    return tuple(one for one in found if observe(site.aws, one.resource) is not None)


def _names(things: Iterable[Found | Entry]) -> tuple[str, ...]:
    return tuple(f"{one.kind} {one.name}" for one in things)


def _kept(plan: Plan) -> tuple[Kept, ...]:
    data = tuple(Kept(kind=step.kind, name=step.name, reason=step.note) for step in plan.kept)
    foreign = tuple(
        Kept(
            kind=conflict.resource.kind,
            name=conflict.resource.aws_name,
            reason=f"{conflict.whose}; it was not touched",
        )
        for conflict in plan.conflicts
    )
    return data + foreign


@contextmanager
def _locked_where_possible(
    plan: Plan, aws: Aws, command: str, on_event: Listener
) -> Iterator[tuple[Lock | None, Gate]]:
    """The lock and its gate; without a state bucket there is nowhere to lock, and nothing but to delete the rest."""
    if plan.has_state:
        with locked(aws, command=command, on_event=on_event) as held:
            yield held
    else:
        yield None, Gate(lambda: None)
