"""Money now, today and this month, by the ledger's books."""

from __future__ import annotations

import calendar
from typing import Any

import pytest
from tests.jobs.test_pulse import a_machine as machine

from gpupipe.jobs.spending import Spending, spending
from gpuworker.ledger import MachineRecord, MachineState, Run

MIDNIGHT = float(calendar.timegm((2026, 11, 27, 0, 0, 0)))
NOON = MIDNIGHT + 12 * 3600


def a_machine(**about: Any) -> MachineRecord:
    """At a dollar an hour, in November; off unless it is said to be up."""
    usual: dict[str, Any] = {
        "machine": "i-1",
        "instance_type": "g4dn.xlarge",
        "market": "on-demand",
        "price_usd_per_hour": 1.0,
        "launched_at": MIDNIGHT - 86_400,
        "run_started_at": MIDNIGHT - 86_400,
        "state": MachineState.STOPPED,
        "runs": (),
        "seconds_by_month": {},
    }
    return machine(**{**usual, **about})


def run(start: float, end: float) -> Run:
    return Run(started_at=start, stopped_at=end, shards=1)


def spent(*machines: MachineRecord, region: str = "us-east-1", now: float = NOON) -> Spending:
    return spending(machines, region=region, now=now)


def test_without_machines_nothing_is_spent() -> None:
    none = spent()
    assert (none.hour_usd, none.today_usd, none.month_usd) == (0, 0, 0)
    assert (none.is_least_today, none.estimated_for, none.unpriced) == (False, (), ())


def test_an_hour_counts_what_is_up_and_a_month_what_has_ended_too() -> None:
    # given a machine that has run since ten, and one that ran three hours last week
    up = a_machine(state=MachineState.RUNNING, run_started_at=NOON - 2 * 3600, launched_at=NOON - 2 * 3600)
    gone = a_machine(machine="i-2", state=MachineState.TERMINATED, seconds_by_month={"2026-11": 3 * 3600.0})
    # then
    both = spent(up, gone)
    assert (both.hour_usd, both.today_usd, both.month_usd) == (1, 2, 5)


def test_of_a_run_over_midnight_only_todays_part_is_todays() -> None:
    past = run(MIDNIGHT - 3600, MIDNIGHT + 1800)
    night = a_machine(runs=[past], seconds_by_month={"2026-11": 5400.0})
    assert (spent(night).today_usd, spent(night).month_usd) == (0.5, 1.5)


def test_last_months_hours_are_not_this_months() -> None:
    old = a_machine(seconds_by_month={"2026-10": 7200.0})
    assert (spent(old).today_usd, spent(old).month_usd) == (0, 0)


def test_a_machine_of_today_is_counted_whole_and_an_older_one_at_least() -> None:
    # given ten runs of a quarter of an hour today, of which the ledger remembers five
    runs = [run(MIDNIGHT + hour * 3600, MIDNIGHT + hour * 3600 + 900) for hour in range(5, 10)]
    busy: dict[str, Any] = {"runs": runs, "seconds_by_month": {"2026-11": 9000.0}}
    new, old = spent(a_machine(launched_at=MIDNIGHT + 60, **busy)), spent(a_machine(**busy))
    # then
    assert (new.today_usd, new.is_least_today) == (2.5, False)
    assert (old.today_usd, old.is_least_today) == (1.25, True)


@pytest.mark.parametrize(
    ("about", "region", "estimated"),
    [
        ({}, "us-east-1", ()),
        ({"market": "spot"}, "us-east-1", ("spot",)),
        ({}, "eu-central-1", ("eu-central-1",)),
        ({"market": "spot"}, "eu-central-1", ("spot", "eu-central-1")),
    ],
)
def test_what_is_no_list_price_is_an_estimate(about: dict[str, Any], region: str, estimated: tuple[str, ...]) -> None:
    ran = a_machine(seconds_by_month={"2026-11": 60.0}, **about)
    assert spent(ran, region=region).estimated_for == estimated


def test_a_type_without_a_price_is_named() -> None:
    odd = a_machine(instance_type="p9.huge", price_usd_per_hour=0.0, seconds_by_month={"2026-11": 60.0})
    assert (spent(odd).unpriced, spent(odd).month_usd) == (("p9.huge",), 0)
