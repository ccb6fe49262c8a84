"""The lock: one at a time, renewed, released, and free again after its holder died."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from gpupipe.errors import LockedError, LockLostError, StoppedError
from gpupipe.lock import LOCK_KEY, WAIT_S, Holder, Lock, wait_until_free
from gpupipe.resources.state_bucket import StateBucket
from tests.account import Account
from tests.ticking import TickingClock


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


# --- holders that died ------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """One whose processes live until they are said to have ended; who has our number then began later."""

    name: str = "m"
    ended: bool = False

    def id(self) -> str:
        return self.name

    def boot(self) -> str:
        return f"boot of {self.name}"

    def pid_namespace(self) -> str:
        return "pid:[1]"

    def started(self, pid: int) -> str:
        return "4712" if self.ended else "4711"


def leave_lock(account: Account, machine: Machine) -> None:
    """The lock of a process of `machine` that will not give it back."""
    lock = Lock(account.aws, command="gpupipe up", machine=machine)
    lock.acquire()
    lock.abandon()


def test_the_lock_of_a_dead_process_is_taken_over_at_once_and_that_is_said(account: Account) -> None:
    machine, words = Machine(), list[str]()
    leave_lock(account, machine)
    machine.ended = True

    with Lock(account.aws, command="gpupipe down", machine=machine, say=words.append) as lock:
        lock.check()
        assert stored(account)["command"] == "gpupipe down"
        assert lock.predecessor is not None
        assert lock.predecessor.is_gone
    assert len(words) == 1
    assert re.fullmatch(r".+@.+ \(`gpupipe up`, process \d+\) was killed; its lock is taken over\.", words[0])


@pytest.mark.parametrize("other", [Machine(), Machine(name="n", ended=True)], ids=["it runs", "another machine's"])
def test_the_lock_of_any_other_process_is_not_taken_over(account: Account, other: Machine) -> None:
    leave_lock(account, Machine())

    with pytest.raises(LockedError):
        Lock(account.aws, command="gpupipe down", machine=other).acquire()
    assert stored(account)["command"] == "gpupipe up"


def test_the_document_names_the_process_and_not_the_machine(account: Account) -> None:
    with Lock(account.aws, command="gpupipe up", machine=Machine(name="secret machine")):
        document = stored(account)

    assert document["boot"] == "boot of secret machine"
    assert (document["pid_namespace"], document["started"]) == ("pid:[1]", "4711")
    assert document["machine"] not in {"", "secret machine"}


def test_one_that_expired_is_taken_over_with_a_word(account: Account) -> None:
    words: list[str] = []
    dead = Lock(account.aws, command="gpupipe up", lease_s=0, renew_s=1000)
    dead.acquire()

    with Lock(account.aws, command="gpupipe down", say=words.append):
        pass
    assert "has given no sign of life for" in words[0]


def test_a_damaged_lock_is_held_while_it_is_young_and_then_taken_over(account: Account) -> None:
    where = {"Bucket": account.aws.stack.state_bucket, "Key": LOCK_KEY}
    account.aws.client("s3").put_object(**where, Body=b"{")
    words: list[str] = []

    with pytest.raises(LockedError, match=r"s3://.+/lock\.json, is damaged \(not JSON\)"):
        Lock(account.aws, command="gpupipe up").acquire()
    assert account.aws.client("s3").get_object(**where)["Body"].read() == b"{"

    account.aws.session.events.register("after-call.s3.GetObject", make_older)
    with Lock(account.aws, command="gpupipe up", say=words.append) as lock:
        lock.check()
    account.aws.session.events.unregister("after-call.s3.GetObject", make_older)
    assert "damaged (not JSON)" in words[0]
    assert stored(account)["released"] is True


def make_older(parsed: dict[str, Any], **_: Any) -> None:
    """A hook that makes an object a hundred seconds make_older than it is."""
    if "LastModified" in parsed:
        parsed["LastModified"] -= timedelta(seconds=100)


# --- waiting ----------------------------------------------------------------------------------------------------


def words_while_waiting(account: Account, clock: TickingClock, *, within_s: float = WAIT_S) -> list[str]:
    """What is said while waiting with that clock."""
    words: list[str] = []
    aws = account.again().aws
    aws.clock = clock
    wait_until_free(aws, command="gpupipe down", within_s=within_s, say=words.append)
    return words


def test_a_free_stack_is_not_waited_for(account: Account) -> None:
    assert words_while_waiting(account, clock := TickingClock()) == []
    with Lock(account.aws, command="gpupipe up"):
        pass
    assert words_while_waiting(account, clock) == []
    assert clock.pauses == []


def test_nor_is_one_without_a_state_bucket(new_account: Callable[[], Account]) -> None:
    assert words_while_waiting(new_account(), clock := TickingClock()) == []
    assert clock.pauses == []


def test_it_is_waited_until_the_other_has_ended(account: Account) -> None:
    first = Lock(account.aws, command="gpupipe up")
    first.acquire()
    clock = TickingClock()
    clock.meanwhile = lambda: first.release() if clock.now > 30 else None

    words = words_while_waiting(account, clock)

    assert 30 < clock.now < 40
    assert len(words) == 2
    assert re.search(r"is being changed by .+@.+ \(`gpupipe up`, process \d+\).+Waiting 120 s at most", words[0])


def test_after_two_minutes_the_error_is_as_it_was(account: Account) -> None:
    clock = TickingClock()
    with (
        Lock(account.aws, command="gpupipe up"),
        pytest.raises(LockedError, match=r"changed by .+@.+ \(`gpupipe up`, process \d+\) since"),
    ):
        words_while_waiting(account, clock)
    assert WAIT_S - 6 < clock.now <= WAIT_S


def test_who_will_not_wait_is_refused_at_once_without_a_word(account: Account) -> None:
    words: list[str] = []
    clock = TickingClock()
    with Lock(account.aws, command="gpupipe up"), pytest.raises(LockedError):
        words = words_while_waiting(account, clock, within_s=0)
    assert (words, clock.pauses) == ([], [])


def test_ctrl_c_ends_the_wait(account: Account) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with Lock(account.aws, command="gpupipe up"), pytest.raises(StoppedError, match="stopped while waiting") as caught:
        words_while_waiting(account, TickingClock(meanwhile=interrupt))
    assert caught.value.exit_code == 130
    assert "`gpupipe down`" in caught.value.hint
