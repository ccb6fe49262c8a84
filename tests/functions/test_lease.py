"""The guard's lease: kept while its holder lives, and soon free after it died."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.functions.conftest import World

from gpupipe.functions.lease import LEASE_S, renewing
from gpupipe.functions.reconcile import reconcile
from gpuworker.ledger import Ledger

SOON_S = 0.001
PATIENCE_S = 30.0


class Lease:
    """Plays the ledger: answers one renewal after the other, and says when all were asked for."""

    def __init__(self, *answers: Callable[[], bool]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.is_exhausted = threading.Event()

    def acquire_lease(self, name: str, holder: str, seconds: float) -> bool:
        self.asked.append(f"renew {name} for {holder}, {seconds:.0f} s")
        answer = self._answers.pop(0) if self._answers else yes
        if not self._answers:
            self.is_exhausted.set()
        return answer()

    def release_lease(self, name: str, holder: str) -> bool:
        self.asked.append(f"release {name} of {holder}")
        return True


def yes() -> bool:
    return True


def no() -> bool:
    return False


def fails() -> bool:
    raise ConnectionError("nobody answers")


def within(lease: Lease) -> Any:
    return renewing(cast("Ledger", lease), "segment", "me", every_s=SOON_S)


RENEWED, RELEASED = f"renew segment for me, {LEASE_S:.0f} s", "release segment of me"


def test_it_is_renewed_as_long_as_the_look_lasts_and_given_back_last() -> None:
    lease = Lease(yes, yes, yes)
    with within(lease):
        assert lease.is_exhausted.wait(PATIENCE_S)
    assert lease.asked[:3] == [RENEWED] * 3
    assert lease.asked.index(RELEASED) == len(lease.asked) - 1


def test_a_renewal_that_fails_is_tried_again() -> None:
    lease = Lease(fails, fails, yes)
    with within(lease):
        assert lease.is_exhausted.wait(PATIENCE_S)
    assert lease.asked[:3] == [RENEWED] * 3


def test_one_that_is_lost_is_not_taken_from_its_new_holder(capsys: pytest.CaptureFixture[str]) -> None:
    lease = Lease(no)
    with within(lease):
        assert lease.is_exhausted.wait(PATIENCE_S)
    assert lease.asked == [RENEWED, RELEASED]
    assert "lease_lost" in capsys.readouterr().out


def test_it_is_given_back_though_the_look_fails() -> None:
    lease = Lease()
    with pytest.raises(ZeroDivisionError), within(lease):
        raise ZeroDivisionError
    assert lease.asked[-1] == RELEASED


def test_after_a_guard_was_killed_the_next_looks_within_seconds(room: World) -> None:
    # given a lease whose holder is no more, and that another waited for, who is no more either
    room.guard({}, left_s=120)
    room.ledger.acquire_lease("segment", "killed", LEASE_S)
    assert room.guard({}, left_s=0.3)["skipped"] is True
    # when its time is over, though not the time that a function may take
    room.now[0] += LEASE_S + 1
    # then
    assert "skipped" not in room.guard({}, left_s=120)


def test_a_look_whose_lease_another_has_by_now_does_nothing(room: World) -> None:
    # given work, and a look that was held up while it saw what is
    room.put_job({0: 20})
    before = room.ledger.guard_status("segment")
    # when somebody else is at it by the time that it would act
    status = reconcile(room.ctx, room.backend(room.ctx), is_alone=lambda: False)
    # then no machine starts, and nothing is told
    assert status["skipped"] is True
    assert room.ledger.machines("segment") == []
    assert room.ledger.guard_status("segment") == before
