"""What the guard decides, situation by situation; nothing of AWS is needed for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import NOW, settings

from gpupipe.functions.actions import (
    BuryShard,
    CloseDropin,
    Decision,
    FinishJob,
    LaunchMachines,
    NoteRunning,
    ResendShard,
    StallJob,
    StartMachine,
    StopMachines,
    TerminateMachines,
)
from gpupipe.functions.decide import decide
from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.view import Instance, JobView, View
from gpuworker.ledger import (
    Intake,
    JobRecord,
    JobState,
    MachineRecord,
    MachineState,
    Run,
    ShardRecord,
    ShardState,
)

HOUR = 3600.0
FLEET: dict[str, Any] = {"on_idle": "terminate", "max_instances": 8, "shard_items": 90}


def a_job(shards: int = 2, *, job: str = "j1", items: int = 10, kind: str = "submitted", **changes: Any) -> JobView:
    fields: dict[str, Any] = {"state": JobState.PENDING, "created_at": NOW - 60, "items": 0, "shards": shards}
    record = JobRecord(
        job=job, pipeline="segment", project="field7", task="segment", kind=kind, **{**fields, **changes}
    )
    return JobView(record=record, shards=tuple(a_shard(n, job=job, items=items) for n in range(shards)))


def a_shard(number: int = 0, **changes: Any) -> ShardRecord:
    fields: dict[str, Any] = {"job": "j1", "items": 10, "created_at": NOW - 60, "sent_at": NOW - 60}
    return ShardRecord(number=number, **{**fields, **changes})


def running(shard: ShardRecord, *, silent_s: float = 5, started: int = 1) -> ShardRecord:
    return replace(
        shard,
        state=ShardState.RUNNING,
        started=started,
        machine="i-1",
        created_at=NOW - 9 * HOUR,
        sent_at=NOW - 9 * HOUR,
        started_at=NOW - silent_s,
        heartbeat_at=NOW - silent_s,
    )


def finished(shard: ShardRecord, *, ago_s: float = 5) -> ShardRecord:
    return replace(shard, state=ShardState.DONE, done=shard.items, finished_at=NOW - ago_s)


def an_instance(machine: str = "i-1", state: str = "running", **changes: Any) -> Instance:
    fields = {"instance_type": "g4dn.xlarge", "zone": "us-east-1a", "market": "on-demand", "template": "t1"}
    return Instance(machine=machine, state=state, **{**fields, "launched_at": NOW - 300, **changes})


def a_record(machine: str = "i-1", **changes: Any) -> MachineRecord:
    fields: dict[str, Any] = {
        "pipeline": "segment",
        "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a",
        "market": "on-demand",
        "launched_at": NOW - 300,
        "run_started_at": NOW - 300,
        "last_seen_at": NOW - 10,
        "price_usd_per_hour": 1.0,
        "state": MachineState.RUNNING,
    }
    return MachineRecord(machine=machine, **{**fields, **changes})


def a_view(
    *jobs: JobView,
    instances: list[Instance] | None = None,
    records: list[MachineRecord] | None = None,
    queue: int | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> View:
    there = instances or []
    known = [a_record(one.machine) for one in there if one.is_live] if records is None else records
    messages = sum(len(job.open_shards) for job in jobs) if queue is None else queue
    return View(
        now=NOW,
        settings=_settings(config or {}),
        jobs=jobs,
        queue_messages=messages,
        instances=there,
        records={record.machine: record for record in known},
        template="t1",
        **changes,
    )


def _settings(config: dict[str, Any]) -> FunctionSettings:
    return settings(**config)


def of(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def codes(decision: Decision) -> list[str]:
    return [one.code for one in decision.waiting]


def message(decision: Decision) -> str:
    return " ".join(one.message for one in decision.waiting)


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


# --- stalled ---


def with_runs(*runs: Run, **changes: Any) -> MachineRecord:
    return a_record(**{"state": MachineState.STOPPED, "runs": runs, **changes})


def a_run(*, ago_s: float = 10, lasted_s: float = 120, shards: int = 0, **changes: Any) -> Run:
    end = NOW - ago_s
    return Run(started_at=end - lasted_s, stopped_at=end, shards=shards, **changes)


def test_a_run_to_the_limit_without_a_shard_stalls_the_job() -> None:
    decision = decide(a_view(a_job(), records=[with_runs(a_run(lasted_s=4 * HOUR))]))
    (stall,) = of(decision, StallJob)
    assert "limit of 4 h without finishing one shard" in stall.reason
    assert of(decision, LaunchMachines) == []
    assert codes(decision) == ["stalled"]


def test_a_run_to_the_limit_with_a_shard_goes_on() -> None:
    decision = decide(a_view(a_job(), records=[with_runs(a_run(lasted_s=4 * HOUR, shards=1))]))
    assert decision.actions == (LaunchMachines(count=1),)


def test_a_machine_that_dies_each_time_is_not_started_for_ever() -> None:
    runs = [a_run(ago_s=ago, reason="Client.InstanceInitiatedShutdown") for ago in (50, 30, 10)]
    assert of(decide(a_view(a_job(), records=[with_runs(*runs[:2])])), LaunchMachines)
    decision = decide(a_view(a_job(), records=[with_runs(*runs)]))
    assert "3 machine runs in a row" in of(decision, StallJob)[0].reason
    assert "Client.InstanceInitiatedShutdown" in of(decision, StallJob)[0].reason
    separate = [with_runs(run, machine=f"i-{n}", state=MachineState.TERMINATED) for n, run in enumerate(runs)]
    assert of(decide(a_view(a_job(), records=separate, config=FLEET)), StallJob)


@pytest.mark.parametrize(
    "hope",
    [
        {"runs": [a_run(ago_s=20, interrupted=True)] * 5},
        {"runs": [a_run(ago_s=70)] * 5},
        {"runs": [a_run(ago_s=30)] * 5, "woken_at": NOW - 20},
        {"runs": [*[a_run(ago_s=30)] * 4, a_run(ago_s=20, shards=1)]},
        {"runs": [a_run(ago_s=30)] * 5, "finished_ago_s": 20},
    ],
    ids=["interrupted", "before the job", "woken since", "another run worked", "the job moved"],
)
def test_there_is_hope(hope: dict[str, Any]) -> None:
    job = a_job(3, woken_at=hope.get("woken_at", 0.0))
    if "finished_ago_s" in hope:
        job = replace(job, shards=(finished(job.shards[0], ago_s=hope["finished_ago_s"]), *job.shards[1:]))
    decision = decide(a_view(job, records=[with_runs(*hope["runs"])]))
    assert of(decision, StallJob) == []
    assert of(decision, LaunchMachines)


def test_while_a_machine_makes_progress_nothing_stalls() -> None:
    records = [with_runs(*[a_run()] * 5), a_record("i-2", run_shards=1)]
    there = [an_instance("i-1", "stopped"), an_instance("i-2")]
    assert of(decide(a_view(a_job(), instances=there, records=records)), StallJob) == []


def test_a_stalled_job_that_is_worked_on_runs_again() -> None:
    job = a_job(2, state=JobState.STALLED)
    job = replace(job, shards=(running(job.shards[0]), job.shards[1]))
    decision = decide(a_view(job, instances=[an_instance()]))
    assert of(decision, NoteRunning) == [NoteRunning(job="j1")]


# --- jobs ---


def test_a_complete_job_is_finished() -> None:
    job = a_job(2)
    job = replace(job, shards=tuple(finished(shard) for shard in job.shards))
    assert decide(a_view(job)).actions == (FinishJob(job="j1"),)


def a_dropin(*shards: ShardRecord, **changes: Any) -> JobView:
    fields = {"kind": "drop-in", "intake": Intake.OPEN, "created_at": NOW - 900}
    return replace(a_job(0, **{**fields, **changes}), shards=shards)


@pytest.mark.parametrize(("ago_s", "closes"), [(59, False), (60, True)])
def test_a_quiet_dropin_job_is_closed(ago_s: float, closes: bool) -> None:
    job = a_dropin(finished(a_shard(created_at=NOW - 800), ago_s=ago_s))
    assert bool(of(decide(a_view(job)), CloseDropin)) is closes


def test_a_dropin_job_with_work_is_not_closed() -> None:
    old = a_shard(created_at=NOW - 800, sent_at=NOW - 100)
    assert of(decide(a_view(a_dropin(old, finished(a_shard(1), ago_s=700)))), CloseDropin) == []


def test_a_dropin_job_whose_close_was_cut_short_is_closed() -> None:
    assert of(decide(a_view(a_dropin(finished(a_shard()), intake=Intake.CLOSED))), CloseDropin)


def test_a_dropin_job_that_stayed_empty_is_closed() -> None:
    assert of(decide(a_view(a_dropin())), CloseDropin)
    assert of(decide(a_view(a_dropin(created_at=NOW - 5))), CloseDropin) == []


# --- shards ---


def test_a_waiting_message_is_not_sent_again() -> None:
    job = replace(a_job(0), shards=tuple(a_shard(n, created_at=0.0, sent_at=NOW - 9 * HOUR) for n in range(5)))
    assert of(decide(a_view(job, queue=5)), ResendShard) == []


def test_as_many_as_are_missing_are_sent_again_oldest_first() -> None:
    shards = [a_shard(n, sent_at=NOW - 9 * HOUR + n, created_at=0.0) for n in range(5)]
    shards[0] = running(shards[0], silent_s=900)
    decision = decide(a_view(replace(a_job(0), shards=tuple(shards)), queue=3))
    assert [action.shard.number for action in of(decision, ResendShard)] == [1, 2]


def test_an_empty_queue_means_that_all_silent_ones_are_lost() -> None:
    long_ago = {"created_at": NOW - 9 * HOUR}
    waiting = (a_shard(0, sent_at=NOW - 700, **long_ago), a_shard(1, sent_at=NOW - 100, **long_ago))
    shards = (*waiting, running(a_shard(2), silent_s=20))
    decision = decide(a_view(replace(a_job(0), shards=shards), queue=0))
    assert [action.shard.number for action in of(decision, ResendShard)] == [0]


def test_a_shard_that_ended_its_workers_is_buried() -> None:
    shards = (running(a_shard(0), silent_s=900, started=4), running(a_shard(1), silent_s=900, started=3))
    decision = decide(a_view(replace(a_job(0), shards=shards), queue=0))
    (buried,) = of(decision, BuryShard)
    assert (buried.shard.number, [action.shard.number for action in of(decision, ResendShard)]) == (0, [1])
    assert "began it 4 times" in buried.reason
    alive = (running(a_shard(0), silent_s=20, started=4),)
    assert of(decide(a_view(replace(a_job(0), shards=alive), queue=0)), BuryShard) == []


def test_resends_of_one_look_are_bounded() -> None:
    shards = tuple(a_shard(n, sent_at=0.0, created_at=0.0) for n in range(2000))
    assert len(of(decide(a_view(replace(a_job(0), shards=shards), queue=0)), ResendShard)) == 500


# --- always ---

STATES = st.sampled_from(["pending", "running", "stopping", "stopped", "shutting-down", "terminated"])


@given(
    st.lists(STATES, max_size=5),
    st.lists(st.sampled_from(ShardState), max_size=6),
    st.sampled_from([state for state in JobState if state not in (JobState.FINISHED, JobState.CANCELLED)]),
    st.sampled_from(["stop", "terminate"]),
    st.booleans(),
    st.integers(0, 20),
)
def test_every_situation_has_a_sane_answer(
    machines: list[str], shards: list[ShardState], state: JobState, on_idle: str, paused: bool, queue: int
) -> None:
    there = [an_instance(f"i-{n}", one) for n, one in enumerate(machines)]
    job = replace(a_job(0, state=state), shards=tuple(a_shard(n, state=one) for n, one in enumerate(shards)))
    allowed = 1 if on_idle == "stop" else 4
    config = {"on_idle": on_idle, "max_instances": allowed}
    decision = decide(a_view(job, instances=there, queue=queue, config=config, paused=paused))
    added = sum(action.count for action in of(decision, LaunchMachines)) + len(of(decision, StartMachine))
    live = sum(1 for one in there if one.is_live)
    assert added == 0 or (live + added <= allowed and not paused)
    gone = [machine for action in of(decision, TerminateMachines) for machine in action.machines]
    assert not {one.machine for one in there if one.state != "stopped"}.intersection(gone)
    assert not set(gone).intersection(action.machine for action in of(decision, StartMachine))
    assert decision.waiting
    assert not (paused and live) or of(decision, StopMachines)
