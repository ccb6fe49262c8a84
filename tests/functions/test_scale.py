"""When machines are started, how many, and when they are stopped; nothing of AWS is needed for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import NOW, settings
from tests.functions.situations import (
    FLEET,
    HOUR,
    a_job,
    a_record,
    a_shard,
    a_view,
    an_instance,
    codes,
    decide,
    finished,
    message,
    of,
    running,
)

from gpupipe.functions.scaling import seconds_left
from gpupipe.kinds.queue.backend.actions import LaunchMachines, StartMachine, StopMachines, TerminateMachines
from gpuworker.ledger import Intake, JobState, MachineState

# --- when to start ---


def test_nothing_to_do() -> None:
    decision = decide(a_view())
    assert decision.actions == ()
    assert (decision.wanted, codes(decision)) == (0, ["ok"])


def test_a_submitted_job_starts_at_once() -> None:
    decision = decide(a_view(a_job(1, items=1)))
    assert decision.actions == (LaunchMachines(count=1),)


def test_a_machine_that_runs_is_enough() -> None:
    decision = decide(a_view(a_job(), instances=[an_instance()]))
    assert decision.actions == ()
    assert (decision.wanted, codes(decision)) == (1, ["ok"])
    assert message(decision) == "1 machine works on 1 job."


def test_a_machine_by_an_old_configuration_gives_its_place_to_a_new_one() -> None:
    # given one that runs since before `up` changed what machines are told
    old = an_instance(template="t0")
    # when
    decision = decide(a_view(a_job(), instances=[old]))
    # then it is told to stop, and only when it has is another launched
    assert decision.actions == (
        StopMachines(machines=["i-1"], reason="the configuration of machines has changed", blameless=True),
    )
    assert "i-1" in message(decision)
    gone = decide(a_view(a_job(), instances=[an_instance(template="t0", state="stopping")]))
    assert not of(gone, LaunchMachines)


def test_a_machine_whose_template_is_not_known_is_left_alone() -> None:
    assert decide(a_view(a_job(), instances=[an_instance(template="")])).actions == ()
    assert decide(replace(a_view(a_job(), instances=[an_instance()]), template="")).actions == ()


@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_machine_on_its_way_is_enough(state: str) -> None:
    record = a_record(last_seen_at=None, state=MachineState.LAUNCHED)
    decision = decide(a_view(a_job(), instances=[an_instance(state=state)], records=[record]))
    assert decision.actions == ()
    assert codes(decision) == ["launching"]


def test_a_machine_launched_but_not_described_yet_counts() -> None:
    record = a_record(state=MachineState.LAUNCHED, run_started_at=NOW - 20, last_seen_at=None)
    assert decide(a_view(a_job(), records=[record])).actions == ()
    old = replace(record, run_started_at=NOW - 400)
    assert of(decide(a_view(a_job(), records=[old])), LaunchMachines)


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_machine_that_goes_is_replaced(state: str) -> None:
    decision = decide(a_view(a_job(), instances=[an_instance(state=state)], records=[]))
    assert decision.actions == (LaunchMachines(count=1),)


@pytest.mark.parametrize(
    ("items", "waited_s", "starts"), [(9, 10, False), (10, 10, True), (1, 299, False), (1, 300, True), (1, 9000, True)]
)
def test_dropins_wait_for_company_or_time(items: int, waited_s: float, starts: bool) -> None:
    job = a_job(0, kind="drop-in", intake=Intake.OPEN)
    job = replace(job, shards=(a_shard(items=items, created_at=NOW - waited_s),))
    decision = decide(a_view(job))
    assert bool(of(decision, LaunchMachines)) is starts
    assert ("threshold" in codes(decision)) is not starts


def test_why_dropins_wait_is_said() -> None:
    job = replace(a_job(0, kind="drop-in"), shards=(a_shard(items=7, created_at=NOW - 100),))
    assert message(decide(a_view(job))) == "7 images wait; a machine starts when there are 10, or in 4 min."
    job = replace(a_job(0, kind="drop-in"), shards=(a_shard(items=1, created_at=NOW - 290),))
    assert message(decide(a_view(job))) == "1 image waits; a machine starts when there are 10, or in 10 s."


def test_dropins_of_several_projects_wait_together() -> None:
    jobs = [replace(a_job(0, job=f"j{n}", kind="drop-in"), shards=(a_shard(job=f"j{n}", items=5),)) for n in range(2)]
    assert of(decide(a_view(*jobs)), LaunchMachines)


def test_dropins_that_take_longer_than_others_are_estimated_so() -> None:
    own = {**FLEET, "dropin_options": {"field*": {}}, "dropin_shard_items": {"field*": 9}}
    jobs = {kind: replace(a_job(0, kind=kind), shards=(a_shard(items=90),)) for kind in ("drop-in", "submitted")}
    left = {kind: seconds_left(a_view(config=own), job) for kind, job in jobs.items()}
    assert left == {"drop-in": 900.0, "submitted": 90.0}


def test_dropins_ride_along_with_a_submitted_job() -> None:
    dropin = replace(a_job(0, job="j2", kind="drop-in"), shards=(a_shard(job="j2", items=1),))
    decision = decide(a_view(a_job(1), dropin, config=FLEET))
    assert of(decision, LaunchMachines)
    assert "threshold" not in codes(decision)


def test_dropins_that_were_begun_do_not_wait_again() -> None:
    """A spot machine was taken away in the middle of three images."""
    job = replace(a_job(0, kind="drop-in"), shards=(running(a_shard(items=3)),))
    assert of(decide(a_view(job)), LaunchMachines)


def test_a_held_job_starts_nothing() -> None:
    decision = decide(a_view(a_job(state=JobState.HELD, hold=True)))
    assert decision.actions == ()
    assert codes(decision) == ["hold"]


def test_a_stalled_job_starts_nothing_and_says_why() -> None:
    decision = decide(a_view(a_job(state=JobState.STALLED, reason="no GPU found")))
    assert of(decision, LaunchMachines) == []
    assert "no GPU found" in message(decision)


def test_another_job_starts_though_one_is_stalled() -> None:
    decision = decide(a_view(a_job(state=JobState.STALLED), a_job(job="j2")))
    assert of(decision, LaunchMachines) == [LaunchMachines(count=1)]


def test_a_person_may_start_a_machine_without_work() -> None:
    assert decide(a_view(start_asked_at=NOW - 30)).actions == (LaunchMachines(count=1),)
    began = a_record(run_started_at=NOW - 20, state=MachineState.STOPPED)
    assert decide(a_view(start_asked_at=NOW - 30, records=[began])).actions == ()
    assert decide(a_view(start_asked_at=NOW - 2000)).actions == ()


# --- how many ---


@pytest.mark.parametrize(
    ("shards", "items", "machines"),
    [(1, 90, 1), (10, 90, 1), (11, 90, 2), (40, 90, 4), (400, 90, 8), (8, 1, 1), (3, 5000, 3)],
)
def test_machines_for_the_work(shards: int, items: int, machines: int) -> None:
    """A shard of 90 items is about 90 s of work; one machine is left with 15 minutes of it."""
    decision = decide(a_view(a_job(shards, items=items), config=FLEET))
    assert of(decision, LaunchMachines) == [LaunchMachines(count=machines)]


def test_measured_seconds_replace_the_estimate() -> None:
    job = a_job(41, items=90)
    slow = replace(finished(job.shards[0]), seconds={"wall": 900.0})
    decision = decide(a_view(replace(job, shards=(slow, *job.shards[1:])), config=FLEET))
    assert of(decision, LaunchMachines) == [LaunchMachines(count=8)]


def test_only_what_is_missing_is_launched() -> None:
    there = [an_instance("i-1"), an_instance("i-2", state="pending"), an_instance("i-3", state="terminated")]
    decision = decide(a_view(a_job(40, items=90), instances=there, config=FLEET))
    assert of(decision, LaunchMachines) == [LaunchMachines(count=2)]


def test_too_many_machines_are_left_to_end_by_themselves() -> None:
    there = [an_instance(f"i-{n}") for n in range(5)]
    assert decide(a_view(a_job(1), instances=there, config=FLEET)).actions == ()


@given(st.integers(0, 60), st.integers(1, 400), st.integers(1, 9), st.integers(0, 9))
def test_never_more_than_allowed_or_than_shards(shards: int, items: int, allowed: int, existing: int) -> None:
    there = [an_instance(f"i-{n}") for n in range(existing)]
    config = {**FLEET, "max_instances": allowed}
    decision = decide(a_view(a_job(shards, items=items), instances=there, config=config))
    launched = sum(action.count for action in of(decision, LaunchMachines))
    assert decision.wanted <= min(allowed, shards)
    assert launched == max(0, decision.wanted - existing)


# --- the machine that is kept ---


def test_the_stopped_machine_is_started_again() -> None:
    decision = decide(a_view(a_job(), instances=[an_instance(state="stopped")]))
    assert decision.actions == (StartMachine(machine="i-1"),)


def test_a_machine_that_is_stopping_is_waited_for() -> None:
    decision = decide(a_view(a_job(), instances=[an_instance(state="stopping")]))
    assert decision.actions == ()
    assert codes(decision) == ["launching"]


@pytest.mark.parametrize("changes", [{"template": "old"}, {"instance_type": "p3.2xlarge"}])
def test_a_machine_of_another_configuration_is_replaced(changes: dict[str, str]) -> None:
    decision = decide(a_view(a_job(), instances=[an_instance(state="stopped", **changes)]))
    assert of(decision, TerminateMachines)[0].machines == ["i-1"]
    assert of(decision, LaunchMachines) == [LaunchMachines(count=1)]


def test_a_machine_is_not_given_up_because_the_template_could_not_be_looked_up() -> None:
    view = replace(a_view(a_job(), instances=[an_instance(state="stopped")]), template="")
    assert decide(view).actions == (StartMachine(machine="i-1"),)


def test_a_machine_of_another_configuration_is_kept_while_there_is_no_work() -> None:
    assert decide(a_view(instances=[an_instance(state="stopped", template="old")])).actions == ()


def test_only_one_disk_is_kept() -> None:
    there = [an_instance("i-1", "stopped", launched_at=NOW - 900), an_instance("i-2", "stopped", launched_at=NOW - 90)]
    decision = decide(a_view(instances=there))
    assert [action.machines for action in of(decision, TerminateMachines)] == [["i-1"]]
    decision = decide(a_view(instances=[an_instance("i-1", "stopped"), an_instance("i-2")]))
    assert [action.machines for action in of(decision, TerminateMachines)] == [["i-1"]]


def test_a_fleet_keeps_no_disks() -> None:
    decision = decide(a_view(a_job(1), instances=[an_instance(state="stopped")], config=FLEET))
    assert of(decision, TerminateMachines)[0].machines == ["i-1"]
    assert of(decision, LaunchMachines) == [LaunchMachines(count=1)]


# --- stopping ---


def test_paused_stops_everything_and_starts_nothing() -> None:
    there = [an_instance("i-1"), an_instance("i-2", "pending"), an_instance("i-3", "stopped")]
    just_launched = a_record("i-4", run_started_at=NOW - 5)
    records = [a_record("i-1"), a_record("i-2"), just_launched]
    decision = decide(a_view(a_job(40), instances=there, records=records, config=FLEET, paused=True))
    (stop,) = of(decision, StopMachines)
    assert (stop.machines, stop.blameless) == (["i-1", "i-2", "i-4"], True)
    assert of(decision, LaunchMachines) == []
    assert codes(decision) == ["paused"]


def test_the_budget_stops_everything() -> None:
    record = a_record(seconds_by_month={"2026-11": 9 * HOUR, "2026-10": 99 * HOUR}, run_started_at=NOW - HOUR)
    within = a_view(a_job(), instances=[an_instance()], records=[record], config={"monthly_usd": 10.01})
    assert decide(within).actions == ()
    spent = decide(replace(within, settings=settings(monthly_usd=10.0)))
    assert [action.machines for action in of(spent, StopMachines)] == [["i-1"]]
    assert codes(spent) == ["budget"]
    assert "$10.00 of $10.00" in message(spent)


def test_without_a_budget_nothing_is_too_dear() -> None:
    record = a_record(seconds_by_month={"2026-11": 9e9})
    assert decide(a_view(a_job(), instances=[an_instance()], records=[record])).actions == ()


@pytest.mark.parametrize(("hours", "stops"), [(3.9, False), (4.1, False), (4.2, True)])
def test_the_hard_limit_is_the_guards_too(hours: float, stops: bool) -> None:
    record = a_record(run_started_at=NOW - hours * HOUR, run_shards=7)
    decision = decide(a_view(a_job(), instances=[an_instance()], records=[record]))
    assert bool(of(decision, StopMachines)) is stops
    assert all(not action.blameless for action in of(decision, StopMachines))


def test_the_hard_limit_counts_from_the_present_run() -> None:
    started_again = a_record(launched_at=NOW - 90 * HOUR, run_started_at=NOW - HOUR)
    there = [an_instance(launched_at=NOW - 90 * HOUR)]
    assert decide(a_view(a_job(), instances=there, records=[started_again])).actions == ()
    unknown = decide(a_view(a_job(), instances=there, records=[]))
    assert of(unknown, StopMachines)[0].machines == ["i-1"]


def test_a_machine_without_a_word_is_reported() -> None:
    record = a_record(run_started_at=NOW - 2000, last_seen_at=None)
    decision = decide(a_view(a_job(), instances=[an_instance()], records=[record]))
    assert codes(decision) == ["stalled"]
    assert "has not been heard of for 34 min" in message(decision)
    heard = decide(a_view(a_job(), instances=[an_instance()], records=[replace(record, last_seen_at=NOW - 60)]))
    assert codes(heard) == ["ok"]
