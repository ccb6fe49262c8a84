"""The lock: one at a time, renewed, released, and free again after its holder died."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpupipe.errors import LockedError, LockLostError
from gpupipe.lock import LOCK_KEY, Holder, Lock
from gpupipe.resources.state_bucket import StateBucket
from tests.account import Account


@pytest.fixture
def account(account: Account) -> Account:
    StateBucket.of(account.aws.stack).create(account.aws)
    return account


def stored(account: Account) -> dict[str, Any]:
    answer = account.aws.client("s3").get_object(Bucket=account.aws.stack.state_bucket, Key=LOCK_KEY)
    document: dict[str, Any] = json.loads(answer["Body"].read())
    return document


def test_who_comes_second_is_told_who_was_first(account: Account) -> None:
    with (
        Lock(account.aws, command="gpupipe up"),
        pytest.raises(LockedError, match=r"changed by .+@.+ \(`gpupipe up`, process \d+\) since 20..-") as caught,
    ):
        Lock(account.again().aws, command="gpupipe down").acquire()

    assert "frees itself 90 s" in caught.value.hint


def test_a_released_lock_is_free_at_once(account: Account) -> None:
    with Lock(account.aws, command="gpupipe up"):
        pass

    with Lock(account.aws, command="gpupipe down"):
        assert stored(account)["command"] == "gpupipe down"
    assert stored(account)["released"] is True


def test_a_lock_is_free_again_when_its_holder_has_not_renewed_it(account: Account) -> None:
    dead = Lock(account.aws, command="gpupipe up", lease_s=0, renew_s=1000)
    dead.acquire()

    with Lock(account.aws, command="gpupipe down") as lock:
        lock.check()
        assert stored(account)["command"] == "gpupipe down"


def test_who_slept_through_its_lease_finds_the_lock_lost(account: Account) -> None:
    asleep = Lock(account.aws, command="gpupipe up", lease_s=0, renew_s=1000)
    asleep.acquire()
    with Lock(account.aws, command="gpupipe down"), pytest.raises(LockLostError, match="took it over"):
        asleep.check()

    with pytest.raises(LockLostError):
        asleep.check()
    asleep.release()
    assert stored(account)["command"] == "gpupipe down"


def test_who_slept_while_nobody_came_renews_before_going_on(account: Account) -> None:
    now = [0.0]
    lock = Lock(account.aws, command="gpupipe up", renew_s=1000, clocks=(lambda: now[0],))
    lock.acquire()

    lock.check()
    assert stored(account)["renewals"] == 0
    now[0] += 3600
    lock.check()
    assert stored(account)["renewals"] == 1


def test_a_lock_that_cannot_be_renewed_in_time_is_lost(account: Account) -> None:
    now = [0.0]
    lock = Lock(account.aws, command="gpupipe up", renew_s=1000, clocks=(lambda: now[0],))
    lock.acquire()
    StateBucket.of(account.aws.stack).empty(account.aws, lambda _: None)
    StateBucket.of(account.aws.stack).delete(account.aws)  # as good as a cut cable

    now[0] += 3600
    with pytest.raises(LockLostError, match="in time"):
        lock.check()


def test_the_lock_renews_itself(account: Account) -> None:
    with Lock(account.aws, command="gpupipe up", renew_s=0.02) as lock:
        for _ in range(500):
            if stored(account)["renewals"] >= 2:
                break
        lock.check()

        assert stored(account)["renewals"] >= 2


def test_a_lock_whose_bucket_is_about_to_go_is_left_alone(account: Account) -> None:
    lock = Lock(account.aws, command="gpupipe down", lease_s=0, renew_s=1000)
    lock.acquire()
    before = stored(account)

    lock.abandon()
    lock.check()
    lock.release()

    assert stored(account) == before


def test_age_is_told_by_s3(account: Account) -> None:
    with Lock(account.aws, command="gpupipe up"):
        holder, now = Holder.read(account.aws)

    assert holder is not None
    assert holder.is_held
    assert holder.since <= now
    assert 0 <= holder.age_s < 60
