"""Tearing down: order, what is kept, what is found beside the plan, and the receipt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from tests.account import KilledError
from tests.kill_points import KillPoints, at_kill_points
from tests.plan.conftest import Scene
from tests.plan.things import Hashed, Keeper, Record, Runner, Thing, Trigger

from gpupipe.errors import ApplyError, StalePlanError
from gpupipe.resources import Resource


def a_stack(scene: Scene) -> list[Resource]:
    data = scene.a(Keeper, "data")
    base = scene.a(Thing, "base")
    model = scene.a(Hashed, "model", base, weights=1)
    return [data, base, model, scene.a(Trigger, "trigger", data, model)]


def test_down_deletes_by_phase_and_leaves_nothing(scene: Scene) -> None:
    data, base, model, trigger = a_stack(scene)
    scene.up(data, base, model, trigger)

    receipt = scene.down(data, base, model, trigger)

    order = scene.store.order(("delete", trigger.id), ("delete", model.id), ("delete", base.id), ("delete", data.id))
    assert order == sorted(order)
    assert len(receipt.deleted) == 5
    assert (receipt.searched, receipt.leftovers, receipt.kept) == (True, (), ())
    assert scene.store.records == {}
    assert not scene.bucket_exists()


def test_down_twice_is_quiet(scene: Scene) -> None:
    things = a_stack(scene)
    scene.up(*things)
    scene.down(*things)
    scene.account.calls.forget()

    receipt = scene.down(*things)

    assert scene.account.calls.changes == []
    assert (receipt.deleted, receipt.leftovers, receipt.searched) == ((), (), True)


def test_within_a_phase_what_requires_goes_first(scene: Scene) -> None:
    base = scene.a(Thing, "base")
    user = scene.a(Thing, "user", base)
    scene.up(base, user)

    scene.down(base, user)

    order = scene.store.order(("delete", user.id), ("delete", base.id))
    assert order == sorted(order)


def test_down_finds_all_with_another_configuration(scene: Scene) -> None:
    """A fresh checkout, an edited file: what exists is what counts."""
    scene.up(*a_stack(scene))

    receipt = scene.down(scene.a(Thing, "something-else"))

    assert len(receipt.deleted) == 5
    assert scene.store.records == {}


def test_machines_launched_meanwhile_are_found(scene: Scene) -> None:
    """The guard launches one while its trigger is being deleted."""
    trigger = scene.a(Trigger, "trigger")
    late = scene.a(Runner, "i-late")
    scene.up(trigger)
    planned = scene.plan_down(trigger)
    late.create(scene.account.aws)

    receipt = scene.down_by(planned)

    assert f"runner {late.name}" in receipt.deleted
    assert receipt.leftovers == ()


def test_a_failed_deletion_spares_what_it_requires_and_the_state(scene: Scene) -> None:
    base = scene.a(Thing, "base")
    user = scene.a(Trigger, "user", base)
    free = scene.a(Thing, "free")
    scene.up(base, user, free)
    scene.store.refuse_always["delete", user.id] = RuntimeError("in use")

    with pytest.raises(ApplyError) as caught:
        scene.down(base, user, free)

    assert set(scene.store.records) == {base.id, user.id}
    assert f"not tried: thing {base.name} (needs the deletion of trigger {user.name})" in caught.value.message
    assert set(caught.value.receipt["leftovers"]) == {f"thing {base.name}", f"trigger {user.name}"}
    assert scene.bucket_exists()
    scene.store.refuse_always.clear()
    assert scene.down().leftovers == ()
    assert not scene.bucket_exists()


def test_what_failed_once_is_tried_a_second_time(scene: Scene) -> None:
    thing = scene.a(Thing, "thing")
    scene.up(thing)
    scene.store.refuse["delete", thing.id] = RuntimeError("still in use for a moment")

    receipt = scene.down(thing)

    assert f"thing {thing.name}" in receipt.deleted
    assert receipt.leftovers == ()


def test_what_is_written_between_emptying_and_deleting_goes_too(scene: Scene) -> None:
    data = scene.a(Keeper, "data")
    scene.up(data)
    not_empty = {"Error": {"Code": "BucketNotEmpty", "Message": "a machine's last words"}}
    scene.store.refuse["delete", data.id] = ClientError(not_empty, "DeleteBucket")

    receipt = scene.down(data)

    assert receipt.leftovers == ()
    assert scene.store.records == {}
    assert [event.text for event in scene.events if event.kind == "failed"] == []


def test_keep_data_keeps_data_and_what_knows_of_it(scene: Scene) -> None:
    things = a_stack(scene)
    scene.up(*things)

    receipt = scene.down(*things, keep_data=True)

    assert set(scene.store.records) == {things[0].id}
    assert {kept.kind for kept in receipt.kept} == {"data thing", "state bucket"}
    assert receipt.leftovers == ()
    assert scene.bucket_exists()
    scene.down(*things)
    assert scene.store.records == {}


def test_progress_of_emptying_is_told(scene: Scene) -> None:
    data = scene.a(Keeper, "data")
    scene.up(data)
    scene.store.records[data.id].objects = 12_000

    scene.down(data)

    told = [event.text for event in scene.events if event.kind == "progress"]
    assert f"data thing {data.name}: 12000 objects deleted" in told


def test_what_was_made_by_hand_under_our_name_is_left_and_reported(scene: Scene) -> None:
    one, two = scene.a(Thing, "one"), scene.a(Thing, "two")
    scene.up(one, two)
    by_hand = Record(fields={}, owner="", pipeline="", key="")
    scene.store.records[one.id] = by_hand

    receipt = scene.down(one, two)

    assert scene.store.records == {one.id: by_hand}
    assert [str(kept) for kept in receipt.kept] == [f"thing {one.name}: was not made by gpupipe; it was not touched"]
    assert not scene.bucket_exists()


@at_kill_points
def test_down_finishes_what_a_killed_one_began_wherever_it_was_killed(
    new_scene: Callable[[], Scene], kill_points: KillPoints
) -> None:
    whole = new_scene()
    whole.up(*a_stack(whole))
    whole.account.calls.forget()
    whole.down(*a_stack(whole))
    for die_after in kill_points(whole.account.calls.changes):
        scene = new_scene()
        things = a_stack(scene)
        scene.up(*things)
        scene.account.calls.forget()
        scene.account.calls.die_after = die_after
        with pytest.raises((KilledError, ApplyError)):
            scene.down(*things)
        scene.account.calls.forget()
        if scene.bucket_exists():
            scene.account.expire_lock()

        assert scene.down(*things).leftovers == ()

        assert scene.store.records == {}
        assert not scene.bucket_exists()


@at_kill_points
def test_down_after_a_killed_up_leaves_nothing(new_scene: Callable[[], Scene], kill_points: KillPoints) -> None:
    whole = new_scene()
    whole.up(*a_stack(whole))
    for die_after in kill_points(whole.account.calls.changes):
        scene = new_scene()
        things = a_stack(scene)
        scene.account.calls.die_after = die_after
        with pytest.raises(KilledError):
            scene.up(*things)
        scene.account.calls.forget()
        if scene.bucket_exists():
            scene.account.expire_lock()

        scene.down()

        assert scene.store.records == {}
        assert not scene.bucket_exists()


def test_a_plan_that_another_command_made_stale_deletes_nothing(scene: Scene) -> None:
    """What came meanwhile was neither shown nor kept: with `--keep-data` it would go all the same."""
    thing, data, other = scene.a(Thing, "thing"), scene.a(Keeper, "data"), scene.a(Keeper, "other")
    scene.up(thing, data)
    planned = scene.plan_down(thing, data, keep_data=True)
    scene.up(thing, data, other)

    with pytest.raises(StalePlanError):
        scene.down_by(planned)

    assert set(scene.store.records) == {thing.id, data.id, other.id}
    scene.down(thing, data, other, keep_data=True)
    assert set(scene.store.records) == {data.id, other.id}
