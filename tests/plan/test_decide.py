"""Decisions from what there is, without an account."""

from __future__ import annotations

from typing import Any

import pytest
from tests.plan.things import Hashed, Keeper, Runner, Thing

from gpupipe.errors import AwsError, PermissionDeniedError
from gpupipe.names import Stack
from gpupipe.plan import Action, Plan
from gpupipe.plan.decide import World, all_answers, decide, decide_deletion, stale_kinds
from gpupipe.resources import Found, Observed, Resource
from gpupipe.state import Entry, Inventory

STACK = Stack(name="demo", environment="dev", account="123456789012", region="us-east-1")


def a(kind: Any, name: str, *, pipeline: str = "segment", **fields: Any) -> Any:
    return kind(stack=STACK, name=f"demo-dev-{name}", pipeline=pipeline, fields=fields)


def there(resource: Resource, *, owner: str = "demo-dev", **fields: Any) -> Observed:
    return Observed(fields={**resource.desired(), **fields}, owner=owner)


def found(resource: Resource) -> Found:
    return Found(kind=resource.kind, key=resource.key, name=resource.aws_name, resource=resource)


def known(*resources: Resource) -> Inventory:
    return Inventory(entries={one.id: Entry.of(one) for one in resources}, serial=1, etag='"e"')


def actions(plan: Plan) -> dict[str, str]:
    return {step.name.removeprefix("demo-dev-"): str(step.action) for step in plan.steps}


def test_each_resource_gets_the_action_that_its_state_asks_for() -> None:
    absent, same, changed = a(Thing, "absent"), a(Thing, "same", size=1), a(Thing, "changed", size=1)
    observed = {absent.id: None, same.id: there(same), changed.id: there(changed, size=9)}

    plan = decide(World(observed=observed), [absent, same, changed])

    assert actions(plan) == {"absent": "create", "same": "keep", "changed": "update"}
    assert [step.changes for step in plan.changes if step.action is Action.UPDATE] == [(("size", 9, 1),)]
    assert not plan.is_empty


def test_fields_that_are_not_wanted_are_nobodys_business() -> None:
    thing = a(Thing, "thing", size=1)

    plan = decide(World(observed={thing.id: there(thing, colour="red")}), [thing])

    assert plan.is_empty


def test_an_immutable_field_replaces_and_protects_data() -> None:
    data = a(Keeper, "data", shape="square", size=1)
    observed = {data.id: there(data, shape="round")}

    plan = decide(World(observed=observed), [data])
    allowed = decide(World(observed=observed), [data], delete_data=["demo-dev-data"])

    assert [step.what for step in plan.blocked] == ["data thing demo-dev-data"]
    assert not plan.is_empty
    assert plan.changes == ()
    assert [step.action for step in allowed.changes] == [Action.REPLACE]


def test_foreign_things_are_conflicts_and_no_steps() -> None:
    thing = a(Thing, "thing")

    plan = decide(World(observed={thing.id: there(thing, owner="other-dev")}), [thing])

    assert plan.steps == ()
    assert [str(conflict) for conflict in plan.conflicts] == [
        "thing demo-dev-thing exists and belongs to stack other-dev"
    ]


def test_things_found_and_not_wanted_are_deleted_but_data_is_kept() -> None:
    wanted, old, data = a(Thing, "wanted"), a(Thing, "old"), a(Keeper, "data")
    world = World(observed={wanted.id: there(wanted)}, found=(found(wanted), found(old), found(data)))

    plan = decide(world, [wanted])

    assert actions(plan) == {"wanted": "keep", "old": "delete", "data": "delete"}
    assert [step.name for step in plan.changes] == ["demo-dev-old"]
    assert [step.name for step in plan.kept] == ["demo-dev-data"]


def test_machines_go_with_their_pipeline() -> None:
    wanted = a(Thing, "wanted", pipeline="stays")
    machines = (found(a(Runner, "i-1", pipeline="stays")), found(a(Runner, "i-2", pipeline="gone")))

    plan = decide(World(observed={wanted.id: there(wanted)}, found=machines), [wanted])

    assert actions(plan) == {"wanted": "keep", "i-2": "delete"}


def test_new_contents_stand_beside_the_old_which_go() -> None:
    old, new = a(Hashed, "model", weights=1), a(Hashed, "model", weights=2)
    met = Found(kind="hashed thing", key=new.key, name=old.aws_name, resource=old)

    plan = decide(World(observed={new.id: None}, found=(met,)), [new])

    assert [(step.action, step.name) for step in plan.steps] == [
        (Action.REPLACE, new.aws_name),
        (Action.DELETE, old.aws_name),
    ]
    assert plan.steps[1].note == f"replaced by {new.aws_name}"


def test_only_stale_kinds_are_searched_for(only_things: None) -> None:
    kept, old = a(Thing, "kept"), a(Keeper, "old")
    observed = {kept.id: there(kept)}

    assert stale_kinds(World(observed=observed, inventory=known(kept)), [kept]) == frozenset()
    assert stale_kinds(World(observed=observed, inventory=known(kept, old)), [kept]) == {"data thing"}


def test_a_pipeline_that_left_has_its_machines_searched_for(only_things: None) -> None:
    kept, gone = a(Thing, "kept"), a(Thing, "gone", pipeline="gone")

    kinds = stale_kinds(World(observed={kept.id: there(kept)}, inventory=known(kept, gone)), [kept])

    assert kinds == {"thing", "runner"}


def test_without_an_inventory_all_is_searched_unless_there_is_nothing(only_things: None) -> None:
    thing = a(Thing, "thing")

    assert stale_kinds(World(observed={thing.id: None}), [thing]) == frozenset()
    assert "runner" in stale_kinds(World(observed={thing.id: there(thing)}), [thing])


def test_down_joins_what_is_wanted_and_what_is_found() -> None:
    base = a(Thing, "base")
    user = Thing(stack=STACK, name="demo-dev-user", pipeline="segment", needs=(base,))
    foreign, extra = a(Thing, "foreign"), a(Thing, "extra")
    observed = {base.id: there(base), user.id: there(user), foreign.id: there(foreign, owner="")}
    bare = Thing(stack=STACK, name="demo-dev-user", pipeline="segment")

    plan = decide_deletion(World(observed=observed, found=(found(bare), found(extra))), [base, user, foreign])

    assert actions(plan) == {"base": "delete", "user": "delete", "extra": "delete"}
    assert [conflict.resource.name for conflict in plan.conflicts] == ["demo-dev-foreign"]
    assert next(step for step in plan.steps if step.id == user.id).resource.requires() == (base,)


def test_what_a_newer_gpupipe_made_is_not_passed_over_in_silence(only_things: None) -> None:
    inventory = Inventory(
        entries={"endpoint/x": Entry(kind="endpoint", key="endpoint/x", name="x")}, serial=1, etag='"e"'
    )

    plan = decide_deletion(World(observed={}, inventory=inventory), [])

    assert [entry.name for entry in plan.unknown] == ["x"]


def test_the_same_refusal_of_many_reads_is_told_once() -> None:
    denied = PermissionDeniedError("could not read queue a: AccessDenied.", hint="Allow sqs:X.", code="AccessDenied")
    other = AwsError("could not read role b: Throttling.", hint="Wait.", code="Throttling")

    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(PermissionDeniedError):
        all_answers({"a": lambda: fail(denied), "b": lambda: fail(denied)})
    with pytest.raises(AwsError, match=r"queue a[\s\S]*role b") as caught:
        all_answers({"a": lambda: fail(denied), "b": lambda: fail(other), "c": lambda: fail(denied)})
    assert str(caught.value).count("queue a") == 1
