"""The guard's lease and words, and what machines did and cost."""

from __future__ import annotations

import pytest
from tests.gpuworker.ledger.conftest import NOW, Clock, a_machine

from gpuworker.ledger import (
    Ledger,
    MachineState,
)
from gpuworker.ledger.machines import NEXT
from gpuworker.ledger.records import seconds_by_month


def test_lease_is_held_by_one_until_it_ends(ledger: Ledger, clock: Clock) -> None:
    assert ledger.acquire_lease("segment", "a", 60) is True
    assert ledger.acquire_lease("segment", "b", 60) is False
    assert ledger.acquire_lease("segment", "a", 60) is True
    assert ledger.release_lease("segment", "b") is False
    assert ledger.release_lease("segment", "a") is True
    assert ledger.acquire_lease("segment", "b", 60) is True
    clock.now += 61
    assert ledger.acquire_lease("segment", "a", 60) is True


def test_leases_of_the_dead_are_free_at_once(ledger: Ledger) -> None:
    # given a look that was killed, one that waited for it, and a look of another pipeline
    for name in ("segment", f"segment{NEXT}", "other"):
        assert ledger.acquire_lease(name, "dead", 125) is True
    ledger.end_leases("segment")
    # then the next look need not wait, and the other goes on
    assert ledger.acquire_lease("segment", "next", 125) is True
    assert ledger.acquire_lease(f"segment{NEXT}", "next", 125) is True
    assert ledger.acquire_lease("other", "next", 125) is False
    ledger.end_leases("never looked at")


def test_status_and_control_come_back(ledger: Ledger) -> None:
    status = {"at": NOW + 0.25, "wanted": 1, "waiting": [{"code": "quota", "message": "no vCPUs"}], "refusals": []}
    ledger.put_guard_status("segment", status)
    assert ledger.guard_status("segment") == status
    assert ledger.control("segment") == {}
    ledger.set_control("segment", paused=True)
    assert ledger.control("segment") == {"paused": True}


def test_machine_runs_are_billed_once_each(ledger: Ledger, clock: Clock) -> None:
    ledger.put_machine(a_machine())
    clock.now += 100
    assert ledger.machine_seen("segment", "i-1", shards_committed=2) is True
    seen = ledger.machine("segment", "i-1")
    assert seen is not None
    assert (seen.state, seen.run_shards, seen.last_seen_at) == (MachineState.RUNNING, 2, NOW + 100)
    assert ledger.end_run(seen, MachineState.STOPPED, stopped_at=NOW + 3600, reason="idle") is True
    assert ledger.end_run(seen, MachineState.STOPPED, stopped_at=NOW + 3600, reason="idle") is False
    assert ledger.machine_seen("segment", "i-1") is False
    stopped = ledger.machine("segment", "i-1")
    assert stopped is not None
    assert (stopped.seconds_billed, stopped.runs[-1].shards) == (3600, 2)
    assert ledger.begin_run(stopped, NOW + 7200) is True
    assert ledger.begin_run(stopped, NOW + 7200) is False
    (again,) = ledger.machines("segment")
    assert (again.run_shards, again.last_seen_at, again.stopped_at) == (0, None, None)
    assert again.cost_usd(NOW + 7200 + 1800) == pytest.approx(1.5 * 0.526)


def test_unknown_machine_is_not_invented(ledger: Ledger) -> None:
    assert ledger.machine_seen("segment", "i-9") is False
    assert ledger.change_machine("segment", "i-9", alarmed=True) is False
    assert ledger.machines("segment") == []


def test_a_spot_loss_is_no_blame(ledger: Ledger) -> None:
    ledger.put_machine(a_machine(market="spot"))
    ledger.machine_seen("segment", "i-1", state="interrupted")
    ledger.end_run(a_machine(), MachineState.TERMINATED, stopped_at=NOW + 500, reason="spot")
    (record,) = ledger.machines("segment")
    assert record.runs[-1].interrupted is True
    assert record.is_up is False


def test_a_run_over_the_end_of_a_month_is_split() -> None:
    midnight = 1_793_491_200.0  # 2026-11-01 00:00 UTC
    assert seconds_by_month(midnight - 600, midnight + 300) == {"2026-10": 600.0, "2026-11": 300.0}
    assert seconds_by_month(midnight, midnight + 1) == {"2026-11": 60.0}
