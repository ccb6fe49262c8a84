"""Look at what exists, compare it with what is wanted, and say what is to be done; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from gpupipe.aws import Aws
from gpupipe.errors import AwsError, GpupipeError, UsageError
from gpupipe.explain import explained
from gpupipe.holder import Holder
from gpupipe.plan.steps import Action, Change, Conflict, Plan, Step, in_order
from gpupipe.resources import KINDS, Found, Observed, Resource, kind_class
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.state import Entry, Inventory
from gpupipe.threads import at_once

T = TypeVar("T")
LEFT_CONFIG = "left gpupipe.toml"
LISTS_LAG_S = 90.0
"""Longer than the minute in which IAM and SQS show everywhere what was made (`aws.PROPAGATION_S`)."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What there is: the answers that a decision is made from."""

    observed: Mapping[str, Observed | None]
    """By id, of every wanted resource."""
    inventory: Inventory = field(default_factory=Inventory)
    lock: Holder | None = None
    """Who had the lock last, read before everything else: what is observed after it may be changed by nobody since."""
    found: tuple[Found, ...] = ()
    """What a search met; for `up` only of the kinds that may have to be pruned."""


# --- up -----------------------------------------------------------------------------------------------------


def plan(aws: Aws, resources: Iterable[Resource], *, delete_data: Collection[str] = ()) -> Plan:
    """What makes the account as `resources` say. Reads only, all at once: about one call a resource.

    Raises UsageError where `delete_data` names nothing that needs it, AwsError where something cannot be read.
    """
    wanted = tuple(resources)
    world = look(aws, wanted)
    doomed = stale_kinds(world, wanted)
    if doomed:
        world = replace(world, found=search(aws, doomed))
    return decide(world, wanted, delete_data=delete_data)


def look(aws: Aws, wanted: Iterable[Resource]) -> World:
    """Who had the lock last; then observe everything wanted and read the inventory, all at once."""
    with explained("read the stack's lock"):
        lock, _ = Holder.read(aws)
    by_id = {resource.id: resource for resource in wanted}
    inventory = at_once({"": partial(Inventory.read, aws)})
    observed = all_answers({id_: partial(observe, aws, resource) for id_, resource in by_id.items()})
    return World(observed=observed, inventory=inventory[""].result(), lock=lock)


def stale_kinds(world: World, wanted: Iterable[Resource]) -> frozenset[str]:
    """The kinds to search because the inventory knows one that is no longer wanted; all where the inventory is lost."""
    wanted = tuple(wanted)
    if not world.inventory.etag:
        return frozenset(KINDS) if any(world.observed.values()) else frozenset()
    stale = set(world.inventory.entries) - {resource.id for resource in wanted}
    pipelines = {world.inventory.entries[id_].pipeline for id_ in stale} - {resource.pipeline for resource in wanted}
    kinds = {world.inventory.entries[id_].kind for id_ in stale}
    if pipelines:  # its machines are in no inventory
        kinds |= {kind for kind in KINDS if kind_class(kind).dynamic}
    return frozenset(kinds & set(KINDS))


def decide(world: World, wanted: Iterable[Resource], *, delete_data: Collection[str] = ()) -> Plan:
    """The plan for what there is and what is wanted; pure."""
    wanted = tuple(wanted)
    steps: list[Step] = []
    conflicts: list[Conflict] = []
    for resource in wanted:
        observed = world.observed[resource.id]
        if observed is not None and observed.owner != resource.stack.id:
            conflicts.append(Conflict(resource=resource, owner=observed.owner))
        else:
            steps.append(_step(resource, observed, delete_data))
    steps = _replacing_old_contents(steps, world.found)
    steps += _prune(world.found, wanted, delete_data)
    check_names(delete_data, steps)
    return Plan(
        steps=in_order(steps),
        conflicts=tuple(conflicts),
        inventory=_found_again(world, wanted),
        absent=_absent(world, {step.id for step in steps}),
        lock=world.lock,
        has_state=any(world.observed[one.id] is not None for one in wanted if isinstance(one, StateBucket)),
    )


def _found_again(world: World, wanted: Iterable[Resource]) -> Inventory:
    """The inventory; one that was lost is what was found, or a plan for one pipeline would leave the others out."""
    if world.inventory.etag:
        return world.inventory
    there = [one for one in wanted if (seen := world.observed[one.id]) and seen.owner == one.stack.id]
    every = [*there, *(one.resource for one in world.found if not one.resource.dynamic)]
    return replace(world.inventory, entries={resource.id: Entry.of(resource) for resource in every})


def _absent(world: World, present: Collection[str]) -> frozenset[str]:
    """What the inventory lists in vain. Nothing while the account's lists may lag behind a command that was killed."""
    if world.lock is None or world.lock.age_s < LISTS_LAG_S:
        return frozenset()
    known = world.inventory.entries
    return frozenset(id_ for id_ in known if id_ not in present and known[id_].kind in KINDS)


def differences(resource: Resource, observed: Observed) -> tuple[Change, ...]:
    """The fields that are not as wanted, in alphabetical order."""
    have, want = observed.fields, resource.desired()
    return tuple(Change(name, have.get(name), want[name]) for name in sorted(want) if have.get(name) != want[name])


def _step(resource: Resource, observed: Observed | None, delete_data: Collection[str]) -> Step:
    if observed is None:
        return Step(action=Action.CREATE, resource=resource)
    changes = differences(resource, observed)
    if not changes:
        return Step(action=Action.KEEP, resource=resource, note=observed.note)
    if {change.field for change in changes} & resource.immutable:
        protected = resource.holds_data and not _is_named(resource, delete_data)
        note = f"deleting its data needs --delete-data {resource.aws_name}" if protected else observed.note
        return Step(action=Action.REPLACE, resource=resource, changes=changes, note=note, protected=protected)
    return Step(action=Action.UPDATE, resource=resource, changes=changes, note=observed.note)


def _replacing_old_contents(steps: Iterable[Step], found: Iterable[Found]) -> list[Step]:
    """Turn the creation of what exists with other contents, under a name that says so, into a replacement."""
    old = {one.key: one for one in found}

    def replacing(step: Step) -> Step:
        if step.action is not Action.CREATE or step.key not in old or old[step.key].id == step.id:
            return step
        return Step(action=Action.REPLACE, resource=step.resource, note=f"takes the place of {old[step.key].name}")

    return [replacing(step) for step in steps]


def _prune(found: Iterable[Found], wanted: Iterable[Resource], delete_data: Collection[str]) -> list[Step]:
    """Deletions of what is ours and no longer wanted. Machines of a pipeline that is still wanted are wanted."""
    ids = {resource.id for resource in wanted}
    successors = {resource.key: resource.aws_name for resource in wanted}
    pipelines = {resource.pipeline for resource in wanted}
    return [
        _deletion(one, delete_data, note=f"replaced by {successors[one.key]}" if one.key in successors else LEFT_CONFIG)
        for one in found
        if one.id not in ids and not (one.resource.dynamic and one.resource.pipeline in pipelines)
    ]


def _deletion(one: Found, delete_data: Collection[str], *, note: str) -> Step:
    protected = one.resource.holds_data and not _is_named(one.resource, delete_data)
    if protected:
        note += f"; holds data, kept until --delete-data {one.name}"
    return Step(action=Action.DELETE, resource=one.resource, note=note, protected=protected)


def _is_named(resource: Resource, names: Collection[str]) -> bool:
    return bool({resource.aws_name, resource.name, resource.key} & set(names))


def check_names(delete_data: Collection[str], steps: Iterable[Step]) -> None:
    """A name that protects nothing is a misspelling: better said than ignored."""
    losing = [
        step
        for step in steps
        if step.resource.holds_data and (step.action is Action.DELETE or step.action is Action.REPLACE)
    ]
    for name in delete_data:
        if not any(_is_named(step.resource, {name}) for step in losing):
            known = ", ".join(step.name for step in losing) or "nothing"
            raise UsageError(f"--delete-data {name}: no such deletion is planned.", hint=f"It can name: {known}.")


# --- down ---------------------------------------------------------------------------------------------------


def plan_deletion(aws: Aws, resources: Iterable[Resource], *, keep_data: bool = False) -> Plan:
    """What deletes the whole stack: what the config names, what the inventory knows, and what a search finds."""
    wanted = tuple(resources)
    world = look(aws, wanted)
    return decide_deletion(replace(world, found=search(aws, KINDS)), wanted, keep_data=keep_data)


def decide_deletion(world: World, wanted: Iterable[Resource], *, keep_data: bool = False) -> Plan:
    """The plan that deletes everything; pure."""
    wanted = tuple(wanted)
    doomed: dict[str, Resource] = {one.id: one.resource for one in world.found}
    conflicts = []
    for resource in wanted:
        observed = world.observed[resource.id]
        if observed is None:
            continue
        if observed.owner == resource.stack.id:
            doomed[resource.id] = resource  # knows what it requires, which what was found does not
        else:
            conflicts.append(Conflict(resource=resource, owner=observed.owner))
    steps = [_final_deletion(resource, doomed.values(), keep_data=keep_data) for resource in doomed.values()]
    return Plan(
        steps=in_order(steps),
        conflicts=tuple(conflicts),
        inventory=world.inventory,
        lock=world.lock,
        unknown=tuple(entry for entry in world.inventory.entries.values() if entry.kind not in KINDS),
        has_state=any(isinstance(resource, StateBucket) for resource in doomed.values()),
    )


def _final_deletion(resource: Resource, doomed: Iterable[Resource], *, keep_data: bool) -> Step:
    keep = keep_data and (
        resource.holds_data
        # The state bucket knows what was kept, for a later `up` or `down`.
        or (isinstance(resource, StateBucket) and any(other.holds_data for other in doomed))
    )
    note = "kept with the data" if keep else ""
    return Step(action=Action.DELETE, resource=resource, note=note, protected=keep)


# --- reading ------------------------------------------------------------------------------------------------


def search(aws: Aws, kinds: Collection[str]) -> tuple[Found, ...]:
    """Everything of the stack among `kinds` that the account has, all kinds searched at once."""
    answers = all_answers({kind: partial(_find, aws, kind) for kind in sorted(kinds)})
    return tuple({one.id: one for found in answers.values() for one in found}.values())


def observe(aws: Aws, resource: Resource) -> Observed | None:
    """What exists of `resource`. Raises AwsError where that cannot be read."""
    with explained(f"read {resource.kind} {resource.aws_name}"):
        return resource.observe(aws)


def _find(aws: Aws, kind: str) -> list[Found]:
    with explained(f"search the account for each {kind} of stack {aws.stack.id}"):
        return list(kind_class(kind).find(aws))


def all_answers(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The answer of each call. Raises one error that tells all that went wrong, each cause once."""
    answers = at_once(calls)
    errors = [error for answer in answers.values() if (error := answer.exception()) is not None]
    told: dict[str, GpupipeError] = {}
    for error in errors:
        if not isinstance(error, GpupipeError):
            raise error
        told.setdefault(f"{getattr(error, 'code', '')} {error.hint}", error)
    if len(told) == 1:
        raise next(iter(told.values()))
    if told:
        raise AwsError("some of the stack could not be read:\n" + "\n".join(f"  {error}" for error in told.values()))
    return {name: answer.result() for name, answer in answers.items()}
