"""Looks come at once, then after pauses that grow, and end in time."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from gpupipe.clock import GROWTH, LONGEST_PAUSE_S, SYSTEM, looks
from tests.ticking import TickingClock

ROUNDING_S = 1e-6


@given(within_s=st.floats(0, 1000), pause_s=st.floats(0.01, 2))
def test_looks_begin_at_once_and_end_in_time(within_s: float, pause_s: float) -> None:
    clock = TickingClock(now=77.0)
    waited = list(looks(clock, within_s=within_s, pause_s=pause_s))
    assert waited[0] == 0
    assert waited[-1] <= within_s + ROUNDING_S
    assert waited == sorted(waited)
    # and another look would have come too late
    pauses = [*clock.pauses, pause_s]
    assert waited[-1] + max(pauses) * GROWTH > within_s - ROUNDING_S


@given(pause_s=st.floats(0.01, 2))
def test_pauses_grow_up_to_the_longest(pause_s: float) -> None:
    clock = TickingClock()
    list(looks(clock, within_s=120, pause_s=pause_s))
    assert clock.pauses[0] == pause_s
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == LONGEST_PAUSE_S


def test_the_systems_clock_is_this_machines() -> None:
    begun = time.monotonic()
    before = SYSTEM.monotonic()
    SYSTEM.sleep(0.001)
    assert begun <= before < SYSTEM.monotonic() <= time.monotonic()
