"""Applying plans: order, failures, interruption, pruning and the inventory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.account import Account, KilledError
from tests.kill_points import KillPoints, at_kill_points
from tests.plan.conftest import Scene
from tests.plan.things import Hashed, Keeper, Record, Runner, Thing, Trigger

from gpupipe.errors import (
    ApplyError,
    DataProtectedError,
    LockedError,
    NotOursError,
    StalePlanError,
    StoppedError,
    UsageError,
)
from gpupipe.lock import Lock
from gpupipe.plan import Action, apply
from gpupipe.resources import Resource
from gpupipe.state import Inventory


def names(scene: Scene) -> set[str]:
    return {id_.partition(f"{scene.stack.id}-")[2] for id_ in scene.store.records}


def inventory(scene: Scene) -> set[str]:
    entries = Inventory.read(scene.account.aws).entries.values()
    return {entry.name.removeprefix(f"{scene.stack.id}-") for entry in entries if entry.kind != "state bucket"}


# --- making -------------------------------------------------------------------------------------------------


def test_everything_is_made_after_what_it_requires(scene: Scene) -> None:
    base = scene.a(Thing, "base")
    middle = scene.a(Thing, "middle", base)
    top = scene.a(Trigger, "top", middle, base)

    receipt = scene.up(top, middle, base)

    order = scene.store.order(("create", base.id), ("create", middle.id), ("create", top.id))
    assert order == sorted(order)
    assert len(receipt.created) == 4
    assert receipt.created[0].startswith("state bucket")


def test_second_up_makes_no_changing_call(scene: Scene) -> None:
    things = [scene.a(Thing, "one", size=1), scene.a(Keeper, "two")]
    scene.up(*things)
    scene.account.calls.forget()

    receipt = scene.up(*things)

    assert scene.account.calls.changes == []
    assert receipt.created == ()


def test_only_changed_fields_are_updated(scene: Scene) -> None:
    scene.up(scene.a(Thing, "one", size=1, colour="red"))

    planned = scene.plan(scene.a(Thing, "one", size=2, colour="red"))

    assert [(step.action, step.changes) for step in planned.changes] == [(Action.UPDATE, (("size", 1, 2),))]
    assert apply(planned, scene.account.aws).updated == (f"thing {scene.stack.id}-one",)
    assert scene.store.records[planned.changes[0].id].fields == {"size": 2, "colour": "red"}


def test_independent_things_are_made_at_the_same_time(scene: Scene) -> None:
    """Neither can end before both have begun."""
    one, two = scene.a(Thing, "one"), scene.a(Thing, "two")
    both = threading.Event()
    scene.store.hold = {("create", one.id): both, ("create", two.id): both}

    def release() -> None:
        assert scene.store.entered.acquire(timeout=20)
        assert scene.store.entered.acquire(timeout=20)
        both.set()

    helper = threading.Thread(target=release, daemon=True)
    helper.start()
    scene.up(one, two)
    helper.join(20)

    assert names(scene) == {"one", "two"}


# --- failing ------------------------------------------------------------------------------------------------


def test_a_failure_stops_only_what_requires_it(scene: Scene) -> None:
    bad, free = scene.a(Thing, "bad"), scene.a(Thing, "free")
    child, grandchild = scene.a(Thing, "child", bad), scene.a(Thing, "grandchild")
    grandchild = scene.a(Thing, "grandchild", child)
    scene.store.refuse["create", bad.id] = RuntimeError("no room")

    with pytest.raises(ApplyError) as caught:
        scene.up(bad, free, child, grandchild)

    assert names(scene) == {"free"}
    assert [str(error) for error in caught.value.failures] == [
        f"could not create thing {bad.name}: RuntimeError: no room. "
        "This looks like a mistake in gpupipe: please report it with this text."
    ]
    assert f"not tried: thing {child.name} (needs thing {bad.name})" in caught.value.message
    assert f"not tried: thing {grandchild.name} (needs thing {child.name})" in caught.value.message
    assert caught.value.receipt["created"][-1] == f"thing {free.name}"


def test_how_much_was_done_beside_a_failure_is_counted(scene: Scene) -> None:
    # given a stack with a part that cannot be made, beside its state bucket
    bad = scene.a(Thing, "bad")
    scene.store.refuse["create", bad.id] = RuntimeError("no room")
    with pytest.raises(ApplyError, match=r"^1 of 2 steps failed; 1 was done and stays done\."):
        scene.up(bad)
    # when only that is left to do, and fails again
    scene.store.refuse["create", bad.id] = RuntimeError("no room")
    with pytest.raises(ApplyError, match=r"^1 of 1 step failed; no other was done\."):
        scene.up(bad)


def test_up_after_a_failure_does_the_rest(scene: Scene) -> None:
    bad = scene.a(Thing, "bad")
    child = scene.a(Thing, "child", bad)
    scene.store.refuse["create", bad.id] = RuntimeError("no room")
    with pytest.raises(ApplyError):
        scene.up(bad, child)

    scene.up(bad, child)

    assert names(scene) == {"bad", "child"}


@at_kill_points
def test_up_finishes_what_a_killed_one_began_wherever_it_was_killed(
    new_scene: Callable[[], Scene], kill_points: KillPoints
) -> None:
    def of(scene: Scene) -> list[Resource]:
        base = scene.a(Keeper, "base", size=1)
        return [base, *(scene.a(Thing, f"leaf{number}", base, size=1) for number in range(2))]

    whole = new_scene()
    whole.up(*of(whole))
    for die_after in kill_points(whole.account.calls.changes):
        scene = new_scene()
        things = of(scene)
        scene.account.calls.die_after = die_after
        with pytest.raises(KilledError):
            scene.up(*things)
        scene.account.calls.forget()
        if scene.bucket_exists():
            scene.account.expire_lock()

        scene.up(*things)
        scene.account.calls.forget()
        scene.up(*things)

        assert names(scene) == {"base", *(f"leaf{number}" for number in range(2))}
        assert scene.account.calls.changes == []


def test_the_inventory_lists_what_a_killed_up_was_about_to_make(scene: Scene) -> None:
    one = scene.a(Thing, "one")
    scene.store.refuse["create", one.id] = RuntimeError("no room")

    with pytest.raises(ApplyError):
        scene.up(one)

    assert inventory(scene) == {"one"}


# --- what is not ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "words"), [("", "was not made by gpupipe"), ("x-y", "belongs to stack x-y")])
def test_a_foreign_thing_stops_everything_before_it_begins(scene: Scene, owner: str, words: str) -> None:
    mine, foreign = scene.a(Thing, "mine"), scene.a(Thing, "foreign", size=1)
    theirs = Record(fields={"size": 9}, owner=owner, pipeline="", key="")
    scene.store.records[foreign.id] = theirs

    with pytest.raises(NotOursError, match=words):
        scene.up(mine, foreign)

    assert scene.store.history == []
    assert theirs.fields == {"size": 9}
    assert not scene.bucket_exists()


# --- leaving the configuration ------------------------------------------------------------------------------


def test_what_left_the_configuration_is_deleted_after_the_rest_was_built(scene: Scene) -> None:
    old, user = scene.a(Thing, "old"), scene.a(Thing, "user", uses="old")
    scene.up(old, user)

    new = scene.a(Thing, "new")
    changed = scene.a(Thing, "user", new, uses="new")
    receipt = scene.up(new, changed)

    order = scene.store.order(("create", new.id), ("update", changed.id), ("delete", old.id))
    assert order == sorted(order)
    assert receipt.deleted == (f"thing {old.name}",)
    assert inventory(scene) == {"new", "user"}


def test_nothing_is_deleted_while_its_pipeline_could_not_be_changed(scene: Scene) -> None:
    old, other = scene.a(Thing, "old"), scene.a(Thing, "other", pipeline="dropped")
    scene.up(old, other, scene.a(Thing, "user", size=1))
    user = scene.a(Thing, "user", size=2)
    scene.store.refuse["update", user.id] = RuntimeError("no")

    with pytest.raises(ApplyError, match=f"not tried: thing {old.name}"):
        scene.up(user)

    assert names(scene) == {"old", "user"}  # what belongs to no failing pipeline is gone


def test_data_that_left_the_configuration_is_kept_until_it_is_named(scene: Scene) -> None:
    data = scene.a(Keeper, "data")
    scene.up(data, scene.a(Thing, "one"))

    receipt = scene.up(scene.a(Thing, "one"))

    assert [(kept.name, "holds data" in kept.reason) for kept in receipt.kept] == [(data.name, True)]
    assert names(scene) == {"one", "data"}
    assert scene.up(scene.a(Thing, "one"), delete_data=[data.name]).deleted == (f"data thing {data.name}",)
    assert names(scene) == {"one"}
    assert inventory(scene) == {"one"}


def test_a_name_that_protects_nothing_is_a_mistake(scene: Scene) -> None:
    scene.up(scene.a(Keeper, "data"))

    with pytest.raises(UsageError, match="--delete-data dtaa"):
        scene.up(scene.a(Keeper, "data"), delete_data=["dtaa"])


def test_machines_of_a_pipeline_that_left_are_deleted_and_others_are_not(scene: Scene) -> None:
    scene.up(scene.a(Thing, "a", pipeline="stays"), scene.a(Thing, "b", pipeline="goes"))
    for pipeline in ("stays", "goes"):
        scene.a(Runner, f"runner-{pipeline}", pipeline=pipeline).create(scene.account.aws)

    scene.up(scene.a(Thing, "a", pipeline="stays"))

    assert names(scene) == {"a", "runner-stays"}


def test_a_lost_inventory_is_made_good_by_searching(scene: Scene) -> None:
    scene.up(scene.a(Thing, "one"), scene.a(Thing, "two"))
    scene.account.aws.client("s3").delete_object(Bucket=scene.stack.state_bucket, Key="inventory.json")

    scene.up(scene.a(Thing, "one"))

    assert names(scene) == {"one"}


def test_the_inventory_forgets_what_a_killed_command_deleted_once_lists_have_caught_up(scene: Scene) -> None:
    one, two = scene.a(Thing, "one"), scene.a(Thing, "two")
    scene.up(one, two)
    del scene.store.records[two.id]  # and was killed before it could note that

    scene.up(one, scene.a(Thing, "three"))
    assert inventory(scene) == {"one", "two", "three"}

    scene.account.aws.client("s3").meta.events.register("after-call.s3.GetObject", make_older)
    scene.up(one, scene.a(Thing, "three"), scene.a(Thing, "four"))
    assert inventory(scene) == {"one", "three", "four"}


def make_older(parsed: dict[str, Any], **_: Any) -> None:
    """A hook that makes an object a hundred seconds make_older than it is."""
    if "LastModified" in parsed:
        parsed["LastModified"] -= timedelta(seconds=100)


# --- replacing ----------------------------------------------------------------------------------------------


def test_replacing_what_holds_data_needs_its_name(scene: Scene) -> None:
    scene.up(scene.a(Keeper, "data", shape="round"))
    square = scene.a(Keeper, "data", shape="square")

    with pytest.raises(DataProtectedError, match=r"shape changed.*--delete-data"):
        scene.up(square, scene.a(Thing, "other"))

    assert names(scene) == {"data"}
    receipt = scene.up(square, delete_data=["data-thing/data"])
    assert receipt.replaced == (f"data thing {square.name}",)
    assert scene.store.records[square.id].fields == {"shape": "square"}


def test_what_is_named_by_its_contents_is_made_anew_before_the_old_goes(scene: Scene) -> None:
    old = scene.a(Hashed, "model", weights=1)
    scene.up(old, scene.a(Thing, "user", uses=old.aws_name))

    new = scene.a(Hashed, "model", weights=2)
    user = scene.a(Thing, "user", new, uses=new.aws_name)
    planned = scene.plan(new, user)
    apply(planned, scene.account.aws)

    assert [(step.action, step.name) for step in planned.changes] == [
        (Action.UPDATE, user.name),
        (Action.REPLACE, new.aws_name),
        (Action.DELETE, old.aws_name),
    ]
    order = scene.store.order(("create", new.id), ("update", user.id), ("delete", old.id))
    assert order == sorted(order)
    assert set(scene.store.records) == {new.id, user.id}


# --- one at a time ------------------------------------------------------------------------------------------


def test_a_plan_from_before_another_change_is_not_applied(scene: Scene) -> None:
    scene.up(scene.a(Thing, "one"))
    planned = scene.plan(scene.a(Thing, "one"), scene.a(Thing, "mine"))
    scene.up(scene.a(Thing, "one"), scene.a(Thing, "theirs"))

    with pytest.raises(StalePlanError):
        apply(planned, scene.account.aws)

    assert names(scene) == {"one", "theirs"}


def test_up_waits_for_nobody_but_says_who_has_the_lock(scene: Scene) -> None:
    scene.up(scene.a(Thing, "one"))

    with Lock(scene.account.aws, command="gpupipe down"), pytest.raises(LockedError, match="`gpupipe down`"):
        scene.up(scene.a(Thing, "one"), scene.a(Thing, "two"))

    assert names(scene) == {"one"}
    scene.up(scene.a(Thing, "one"), scene.a(Thing, "two"))  # released: free at once
    assert names(scene) == {"one", "two"}


def test_a_plan_from_before_a_killed_command_is_not_applied(scene: Scene) -> None:
    """A `down` that was killed has deleted things, and the inventory does not say so."""
    one, two = scene.a(Thing, "one"), scene.a(Thing, "two")
    scene.up(one)
    planned = scene.plan(one, two)
    killed = Lock(scene.account.aws, command="gpupipe down", lease_s=0)
    killed.acquire()
    killed.abandon()
    del scene.store.records[one.id]

    with pytest.raises(StalePlanError):
        apply(planned, scene.account.aws)

    scene.up(one, two)
    assert names(scene) == {"one", "two"}


def test_who_was_killed_before_the_plan_was_made_does_not_spoil_it(scene: Scene) -> None:
    scene.up(scene.a(Thing, "one"))
    killed = Lock(scene.account.aws, command="gpupipe down", lease_s=0)
    killed.acquire()
    killed.abandon()

    scene.up(scene.a(Thing, "one"), scene.a(Thing, "two"))

    assert names(scene) == {"one", "two"}
    assert [event.kind for event in scene.events if "no sign of life" in event.text] == ["notice"]


# --- Ctrl-C -------------------------------------------------------------------------------------------------


def test_ctrl_c_lets_what_runs_end_and_begins_nothing(scene: Scene) -> None:
    first = scene.a(Thing, "first")
    second = scene.a(Thing, "second", first)
    go_on = threading.Event()
    scene.store.hold["create", first.id] = go_on

    def interrupt() -> None:
        assert scene.store.entered.acquire(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)
        go_on.set()

    helper = threading.Thread(target=interrupt, daemon=True)
    helper.start()
    with pytest.raises(StoppedError) as caught:
        scene.up(first, second)
    helper.join(20)

    assert caught.value.exit_code == 130
    assert "gpupipe up" in caught.value.hint
    assert names(scene) <= {"first"}
    scene.store.hold.clear()
    scene.up(first, second)  # the lock is free
    assert names(scene) == {"first", "second"}


def test_a_call_that_comes_after_the_end_is_refused(scene: Scene, account: Account) -> None:
    """A thread that was left behind by Ctrl-C must not change anything without the lock."""
    seen: list[Resource] = []
    one = scene.a(Thing, "one")
    scene.up(one)
    late = scene.a(Thing, "late")

    class Spy(Thing):
        def create(self, aws: object) -> None:
            seen.append(aws)  # type: ignore[arg-type]
            super().create(aws)  # type: ignore[arg-type]

    spy = Spy(stack=scene.stack, name=f"{scene.stack.id}-spy", pipeline="segment")
    scene.up(one, spy)

    with pytest.raises(StoppedError):
        late.create(seen[0])
