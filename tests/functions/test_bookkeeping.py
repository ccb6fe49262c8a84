"""What EC2's description of machines means for their records."""

from __future__ import annotations

from typing import Any

import pytest
from tests.functions.conftest import NOW, settings
from tests.functions.situations import a_record, an_instance

from gpupipe.functions.changes import BeginRun, Change, EndRun, Forget, NewRecord, SetAlarm
from gpupipe.kinds.queue.backend.bookkeeping import changes
from gpupipe.kinds.queue.backend.view import Ec2Instance
from gpuworker.ledger import MachineRecord, MachineState


def found(instances: list[Ec2Instance], records: list[MachineRecord], *, looked_at: float = NOW - 60) -> list[Change]:
    known = {record.machine: record for record in records}
    return changes(settings(), instances, known, now=NOW, looked_at=looked_at)


def alarmed(**fields: Any) -> MachineRecord:
    return a_record(**{"alarmed": True, **fields})


def test_nothing_new() -> None:
    there = [an_instance("i-1"), an_instance("i-2", "stopped"), an_instance("i-3", "terminated")]
    records = [
        alarmed(machine="i-1"),
        alarmed(machine="i-2", state=MachineState.STOPPED),
        a_record("i-3", state=MachineState.TERMINATED),
        a_record("i-4", state=MachineState.TERMINATED),
    ]
    assert found(there, records) == []


def test_a_machine_nobody_wrote_down() -> None:
    (change,) = found([an_instance("i-1", launched_at=NOW - 40)], [])
    assert isinstance(change, NewRecord)
    record = change.record
    assert (record.machine, record.run_started_at, record.price_usd_per_hour) == ("i-1", NOW - 40, 0.526)
    assert (record.template, record.state) == ("t1", MachineState.LAUNCHED)
    assert found([an_instance("i-1", "terminated")], []) == []


def test_a_running_machine_without_its_alarm() -> None:
    record = a_record()
    assert found([an_instance()], [record]) == [SetAlarm(record=record)]


def test_a_stopped_machine_that_runs_again() -> None:
    record = alarmed(state=MachineState.STOPPED, stopped_at=NOW - 500)
    assert found([an_instance(launched_at=NOW - 100)], [record]) == [BeginRun(record=record, at=NOW - 100)]
    assert found([an_instance(launched_at=NOW - 900)], [record]) == [BeginRun(record=record, at=NOW - 500)]


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_a_machine_that_powered_off_is_billed_to_the_second(state: str) -> None:
    record = alarmed()
    off = an_instance(state=state, stopped_at=NOW - 20, reason="Client.InstanceInitiatedShutdown")
    expected = EndRun(record=record, state=MachineState.STOPPED, at=NOW - 20, reason="Client.InstanceInitiatedShutdown")
    assert found([off], [record]) == [expected]


def test_the_end_of_an_earlier_run_is_not_the_end_of_this_one() -> None:
    (change,) = found([an_instance(state="stopped", stopped_at=NOW - 9000)], [alarmed()])
    assert isinstance(change, EndRun)
    assert change.at == NOW


def test_a_description_from_before_the_start_is_not_believed() -> None:
    stopped = an_instance(state="stopped", stopped_at=NOW - 9000)
    assert found([stopped], [alarmed(run_started_at=NOW - 20)]) == []
    stopped = an_instance(state="stopped", stopped_at=NOW - 10)
    assert len(found([stopped], [alarmed(run_started_at=NOW - 20)])) == 1


def test_the_guards_reason_is_better_than_ec2s() -> None:
    (change,) = found([an_instance(state="stopped", reason="User initiated")], [alarmed(reason="paused")])
    assert isinstance(change, EndRun)
    assert change.reason == "paused"


def test_a_terminated_machine_is_billed_and_forgotten() -> None:
    record = alarmed()
    ended, forgotten = found([an_instance(state="shutting-down")], [record])
    assert isinstance(ended, EndRun)
    assert (ended.state, ended.interrupted) == (MachineState.TERMINATED, False)
    assert forgotten == Forget(record=record)


def test_a_machine_that_the_spot_market_took() -> None:
    reason = "Server.SpotInstanceTermination: Spot instance termination"
    ended, _ = found([an_instance(state="terminated", reason=reason)], [alarmed(market="spot")])
    assert isinstance(ended, EndRun)
    assert ended.interrupted is True


def test_a_kept_machine_that_is_terminated_costs_no_run() -> None:
    record = alarmed(state=MachineState.STOPPED)
    assert found([an_instance(state="terminated")], [record]) == [Forget(record=record)]
    assert found([], [record]) == [Forget(record=record)]


def test_a_forgetting_that_was_cut_short_is_completed() -> None:
    record = alarmed(state=MachineState.TERMINATED)
    assert found([an_instance(state="terminated")], [record]) == [Forget(record=record)]


def test_a_machine_that_ec2_forgot_is_billed_to_its_last_sign() -> None:
    record = alarmed(run_started_at=NOW - 9000, last_seen_at=NOW - 5000)
    ended, forgotten = found([], [record], looked_at=NOW - 4000)
    assert isinstance(ended, EndRun)
    assert (ended.at, ended.state) == (NOW - 4000, MachineState.TERMINATED)
    assert forgotten == Forget(record=record)


def test_a_machine_just_launched_may_be_missing_for_a_while() -> None:
    assert found([], [a_record(run_started_at=NOW - 100)]) == []
