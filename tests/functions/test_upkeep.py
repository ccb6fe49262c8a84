"""What jobs and shards need: finished, closed, sent again, marked dead, stalled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.functions.conftest import NOW
from tests.functions.situations import (
    FLEET,
    HOUR,
    a_dropin,
    a_job,
    a_record,
    a_run,
    a_shard,
    a_view,
    an_instance,
    codes,
    decide,
    finished,
    of,
    running,
    with_runs,
)

from gpupipe.functions.actions import (
    CloseDropin,
    FinishJob,
    MarkDead,
    NoteRunning,
    ResendShard,
    StallJob,
)
from gpupipe.kinds.queue.backend.actions import LaunchMachines
from gpuworker.ledger import Intake, JobState, MachineState

# --- stalled ---


def test_a_run_to_the_limit_without_a_shard_stalls_the_job() -> None:
    decision = decide(a_view(a_job(), records=[with_runs(a_run(lasted_s=4 * HOUR))]))
    (stall,) = of(decision, StallJob)
    assert "limit of 4 h without finishing one shard" in stall.reason
    assert of(decision, LaunchMachines) == []
    assert codes(decision) == ["stalled"]


def test_a_run_to_the_limit_with_a_shard_goes_on() -> None:
    decision = decide(a_view(a_job(), records=[with_runs(a_run(lasted_s=4 * HOUR, shards=1))]))
    assert decision.actions == (LaunchMachines(count=1),)


def test_a_worker_that_only_a_person_can_help_stalls_the_job_at_once_and_says_why() -> None:
    reason = "secret hf_token has no value: set the hub's token with `gpupipe secrets set hf_token`"
    decision = decide(a_view(a_job(), records=[with_runs(a_run(reason=reason, hopeless=True))]))
    (stall,) = of(decision, StallJob)
    assert stall.reason == f"the worker on machine i-1 could not begin: {reason}"
    assert of(decision, LaunchMachines) == []
    # and when that was done, a person wakes it
    woken = decide(a_view(a_job(woken_at=NOW - 1), records=[with_runs(a_run(reason=reason, hopeless=True))]))
    assert of(woken, LaunchMachines)


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


def test_while_a_shard_shows_life_its_job_does_not_stall() -> None:
    """The others of a fleet found nothing to do beside the one long shard."""
    job = a_job(1)
    job = replace(job, shards=(running(job.shards[0]),))
    records = [a_record("i-1"), with_runs(*[a_run()] * 5, machine="i-2", state=MachineState.TERMINATED)]
    assert of(decide(a_view(job, instances=[an_instance()], records=records)), StallJob) == []


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


def test_a_shard_that_ended_its_workers_is_marked_dead() -> None:
    shards = (running(a_shard(0), silent_s=900, started=4), running(a_shard(1), silent_s=900, started=3))
    decision = decide(a_view(replace(a_job(0), shards=shards), queue=0))
    (dead,) = of(decision, MarkDead)
    assert (dead.shard.number, [action.shard.number for action in of(decision, ResendShard)]) == (0, [1])
    assert "began it 4 times" in dead.reason
    alive = (running(a_shard(0), silent_s=20, started=4),)
    assert of(decide(a_view(replace(a_job(0), shards=alive), queue=0)), MarkDead) == []


def test_resends_of_one_look_are_bounded() -> None:
    shards = tuple(a_shard(n, sent_at=0.0, created_at=0.0) for n in range(2000))
    assert len(of(decide(a_view(replace(a_job(0), shards=shards), queue=0)), ResendShard)) == 500
