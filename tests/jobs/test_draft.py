"""The same submission again: while its job is open it is that job, and of many at once one makes it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from tests.jobs.crew import Crew, state_of
from tests.jobs.desk import Desk
from tests.jobs.test_submit import sent

from gpupipe.errors import JobError, StoppedError
from gpupipe.jobs import draft as drafts
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.retry import retry_failed
from gpupipe.jobs.submit import SubmitProgress, SubmittedJob
from gpuworker.contract import cancelled_key, manifest_key
from gpuworker.ledger import JobState


def dispatched(crew: Crew, images: Path, **how: object) -> str:
    """A job that waits for a machine."""
    job = sent(crew.desk, images, **how).job
    announce_manifest(crew.desk.ctx, job)
    crew.dispatch()
    return job


def started(desk: Desk) -> list[str]:
    """Jobs that have their start signal."""
    return [key.split("/")[1] for key in desk.keys("jobs/") if key.endswith("manifest.json")]


# --- open: the same job ---


def test_before_dispatch_has_seen_it_the_same_command_attaches(desk: Desk, images: Path) -> None:
    first = sent(desk, images)
    again = sent(desk, images)
    assert (again.job, again.attached, again.is_resumed, again.state) == (first.job, True, False, "submitted")
    assert (again.items, again.shards, again.uploaded, again.unchanged) == (3, 1, 0, 3)
    assert desk.versions("jobs/")[manifest_key(first.job)] == 1
    assert (first.attached, started(desk)) == (False, [first.job])


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.STALLED, JobState.HELD])
def test_an_open_job_is_attached_to_in_every_state(crew: Crew, images: Path, state: JobState) -> None:
    job = dispatched(crew, images)
    crew.ledger.set_job_state(job, state)
    again = sent(crew.desk, images)
    assert (again.job, again.attached, again.state, again.is_held) == (job, True, state, state == JobState.HELD)


def test_an_open_job_has_no_age_limit(crew: Crew, images: Path) -> None:
    # given a job whose marker says that it is a year old
    job = dispatched(crew, images)
    mark = crew.desk.spec(job).fingerprint
    told = json.loads(crew.desk.get(f"jobs/drafts/{mark}.json"))
    aged = {**told, "created_at": time.time() - 365 * 86_400}
    crew.desk.put(f"jobs/drafts/{mark}.json", json.dumps(aged).encode())
    assert sent(crew.desk, images).job == job


def test_what_was_held_stays_so_and_hold_holds_nothing_that_has_started(desk: Desk, images: Path) -> None:
    first = sent(desk, images, hold=True)
    assert sent(desk, images).is_held
    other = sent(desk, images, hold=False, prompts=["dog"])
    same = sent(desk, images, hold=True, prompts=["dog"])
    assert (same.job, same.is_held, first.job != other.job) == (other.job, False, True)


def test_other_prompts_options_and_projects_are_other_jobs(desk: Desk, images: Path) -> None:
    made = [
        sent(desk, images),
        sent(desk, images, prompts=["dog"]),
        sent(desk, images, prompts=["dog"], negative_prompts=["cat"]),
        sent(desk, images, assignments=["score_threshold=0.25"]),
        sent(desk, images, project="field8"),
    ]
    assert len({job.job for job in made}) == 5
    assert not any(job.attached for job in made)


# --- over: another one ---


def test_a_finished_job_is_replaced_and_named(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    crew.commit(job, 0)
    new = sent(crew.desk, images)
    assert (new.job != job, new.attached, new.is_resumed, new.replaces) == (True, False, False, job)
    # and from then on it is the new one that is attached to
    assert (sent(crew.desk, images).job, sent(crew.desk, images).attached) == (new.job, True)


def test_a_finished_job_that_is_tried_again_is_open(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    crew.commit(job, 0, failing=[1])
    retry_failed(crew.desk.ctx, job)
    # before dispatch has seen the retry, and after
    assert sent(crew.desk, images).job == job
    announce_manifest(crew.desk.ctx, job, 1)
    crew.dispatch()
    assert sent(crew.desk, images).job == job


def test_a_job_all_shards_of_which_are_dead_is_replaced(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    crew.ledger.start_shard(job, 0, 0, "i-1")
    assert crew.ledger.mark_dead(job, 0, 0, "tried too often")
    assert sent(crew.desk, images).job != job


@pytest.mark.parametrize("is_known", [True, False])
def test_a_cancelled_job_is_replaced(crew: Crew, images: Path, is_known: bool) -> None:
    job = dispatched(crew, images) if is_known else sent(crew.desk, images).job
    cancel(crew.desk.ctx, job)
    new = sent(crew.desk, images)
    assert (new.job != job, new.attached) == (True, False)


def test_cancelled_between_reading_its_row_and_attaching_it_is_not_attached_to(crew: Crew, images: Path) -> None:
    """`cancel` leaves its mark in the bucket before it touches the ledger."""
    job = dispatched(crew, images)
    crew.desk.put(cancelled_key(job), b"{}")
    assert state_of(crew, job) is JobState.PENDING
    assert sent(crew.desk, images).job != job


def test_cancelled_while_it_is_submitted_it_says_so(desk: Desk, images: Path) -> None:
    def meddle(progress: SubmitProgress) -> None:
        if progress.step == "start":
            (job,) = [name for name in desk.ctx.folders("jobs/") if name != "drafts"]
            desk.put(cancelled_key(job), b"{}")

    with pytest.raises(JobError, match=r"was cancelled while it was submitted.*makes a new one"):
        sent(desk, images, on_progress=meddle)
    assert not sent(desk, images).is_resumed


# --- again ---


def test_again_makes_another_job_and_that_is_the_one_attached_to(desk: Desk, images: Path) -> None:
    first = sent(desk, images)
    second = sent(desk, images, again=True)
    assert (second.job != first.job, second.attached) == (True, False)
    assert (sent(desk, images).job, started(desk)) == (second.job, sorted([first.job, second.job]))


def test_again_stopped_in_its_upload_goes_on_with_its_own_job(desk: Desk, images: Path) -> None:
    def stop(progress: SubmitProgress) -> None:
        if progress.step == "start":
            raise KeyboardInterrupt

    first = sent(desk, images)
    with pytest.raises(StoppedError, match=r"3 of 3 files.*Without --again the same command") as caught:
        sent(desk, images, again=True, on_progress=stop)
    second = sent(desk, images, again=True)
    assert second.job in str(caught.value)
    assert (second.is_resumed, second.attached, second.job != first.job) == (True, False, True)


# --- many at once ---


def test_at_once_from_many_places_one_job_is_made(desk: Desk, images: Path) -> None:
    made = at_once(desk, [images] * 4)
    assert len({job.job for job in made}) == 1
    assert started(desk) == [made[0].job]
    assert sum(not job.attached for job in made) == 1


def test_a_finished_job_is_replaced_once_by_many_at_once(crew: Crew, images: Path) -> None:
    old = dispatched(crew, images)
    crew.commit(old, 0)
    made = at_once(crew.desk, [images] * 4)
    assert len({job.job for job in made}) == 1
    assert sorted(started(crew.desk)) == sorted([old, made[0].job])


def test_who_replaces_a_marker_that_another_has_replaced_finds_the_other_s(desk: Desk) -> None:
    # given two that have read the same marker, which is of no use
    desk.put("jobs/drafts/f1.json", b"not json")
    read = desk.ctx.read_tagged("jobs/drafts/f1.json")
    first = drafts.open_draft(desk.ctx, "f1", project="p", shard_items=5, now=1_000.0)
    # when the slower one writes, then it is refused
    assert read is not None
    assert not desk.ctx.write_over("jobs/drafts/f1.json", "{}", read[1])
    again = drafts.open_draft(desk.ctx, "f1", project="p", shard_items=9, now=1_001.0)
    assert (again.job, again.shard_items, again.is_resumed) == (first.job, 5, True)


def test_a_marker_that_was_deleted_meanwhile_is_not_written_over(desk: Desk) -> None:
    desk.put("jobs/drafts/f1.json", b"{}")
    read = desk.ctx.read_tagged("jobs/drafts/f1.json")
    desk.ctx.remove("jobs/drafts/f1.json")
    assert read is not None
    assert not desk.ctx.write_over("jobs/drafts/f1.json", "{}", read[1])


def at_once(desk: Desk, folders: list[Path]) -> list[SubmittedJob]:
    """Submit each in a thread of its own, all beginning to upload together."""
    together = threading.Barrier(len(folders))
    made: list[SubmittedJob] = []

    def submitting(folder: Path) -> None:
        met: list[str] = []

        def meet(progress: SubmitProgress) -> None:
            if progress.step == "find" and not met:
                met.append("")
                together.wait(30)

        made.append(sent(desk, folder, on_progress=meet))

    threads = [threading.Thread(target=submitting, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == len(folders)
    return made
