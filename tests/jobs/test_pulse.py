"""Rates, times left and costs."""

from __future__ import annotations

import pytest

from gpupipe.jobs.pulse import Pulse, average_rate, cost_usd, seconds_left
from gpuworker.ledger import MachineRecord, MachineState, Run, Totals


def totals(done: int, *, progressed: int = 0, items: int = 100, running: int = 0, begun: float | None = 0.0) -> Totals:
    pending = items - done - progressed - running
    return Totals(
        items=items,
        done=done,
        progressed=progressed,
        running=running,
        pending=pending,
        shards_open=int(done < items),
        first_started_at=begun,
        last_finished_at=50.0 if done else None,
    )


def test_before_anything_is_done_nothing_is_known() -> None:
    pulse = Pulse()
    assert pulse.look(10.0, totals(0, begun=None)) is None
    assert pulse.look(20.0, totals(0)) is None
    assert seconds_left(totals(0), None) is None


def test_one_look_gives_the_average_since_the_first_shard_began() -> None:
    assert Pulse().look(20.0, totals(30, progressed=10)) == 2.0
    # a finished job's rate does not sink while somebody looks at it
    assert average_rate(totals(100), 5000.0) == 2.0


def test_several_looks_give_the_rate_of_the_window() -> None:
    pulse = Pulse()
    for at in range(0, 400, 10):
        rate = pulse.look(float(at), totals(at // 10 if at < 200 else 20 + (at - 200) // 2, items=1000))
    assert rate == pytest.approx(0.5)


def test_a_standstill_falls_back_to_the_average_and_lost_work_begins_anew() -> None:
    pulse = Pulse()
    for at in (0.0, 100.0, 200.0, 300.0):
        rate = pulse.look(at, totals(30))
    assert rate == 30 / 300.0
    assert pulse.look(400.0, totals(10)) == 10 / 400.0


def test_time_left_counts_what_no_worker_is_past() -> None:
    assert seconds_left(totals(50, progressed=20, running=10), 2.0) == 15.0
    assert seconds_left(totals(100), None) == 0.0


def a_machine(**changes: object) -> MachineRecord:
    about: dict[str, object] = {
        "machine": "i-1",
        "pipeline": "segment",
        "instance_type": "g5.xlarge",
        "zone": "a",
        "market": "spot",
        "launched_at": 0.0,
        "price_usd_per_hour": 3.6,
        "run_started_at": 0.0,
        "state": MachineState.RUNNING,
    }
    return MachineRecord(**{**about, **changes})  # type: ignore[arg-type]


def test_a_job_costs_what_machines_ran_while_it_was_unfinished() -> None:
    running = a_machine(run_started_at=100.0, runs=[Run(started_at=0.0, stopped_at=60.0, shards=1)])
    stopped = a_machine(state=MachineState.STOPPED, runs=[Run(started_at=50.0, stopped_at=150.0, shards=0)])
    # 0.001 $ a second: 60 - 20, 200 - 100, and 150 - 50 seconds
    assert cost_usd([running, stopped], 20.0, 200.0) == pytest.approx(0.24)
    assert cost_usd([running, stopped], 1000.0, 1000.0) == 0.0


def test_what_an_earlier_generation_did_is_no_speed_of_this_one() -> None:
    totals = Totals(shards=1, items=12, done=12, carried=11, first_started_at=100.0, last_finished_at=102.0)
    assert average_rate(totals, 150.0) == pytest.approx(0.5)
