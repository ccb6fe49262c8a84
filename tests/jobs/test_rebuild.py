"""A ledger that was lost, wholly or in part, made again from S3."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.crew import MACHINE, Crew, state_of
from tests.jobs.desk import PIPELINE, Desk, a_config, a_photo

from gpupipe.jobs import JobsContext
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.events import announce_manifest, announce_objects
from gpupipe.jobs.rebuild import Rebuilt, rebuild
from gpupipe.jobs.rescan import newest_objects
from gpupipe.jobs.retry import retry_failed
from gpupipe.jobs.submit import submit
from gpuworker.contract import (
    Manifest,
    Shard,
    cancelled_key,
    incoming_prefix,
    job_key,
    manifest_key,
    parse_result_key,
    shard_key,
)
from gpuworker.ledger import Intake, JobState, ShardState, Totals

PROJECT = "field7"


@pytest.fixture
def crew(desk: Desk) -> Crew:
    return Crew(desk=desk)


def a_job(crew: Crew, folder: Path, shards: int = 3, **how: Any) -> str:
    """A submitted and dispatched job of that many shards with two images each."""
    for number in range(2 * shards):
        a_photo(folder / f"photo {number}.jpg")
    job = submit(crew.desk.ctx, [str(folder)], project=PROJECT, **how).job
    (whole,) = crew.desk.shards(job)
    for number in range(shards):
        items = whole.items[2 * number : 2 * number + 2]
        put_shard(crew, replace(whole, number=number, items=items))
    put_manifest(crew, replace(crew.desk.manifest(job), shards={str(number): 2 for number in range(shards)}))
    announce_manifest(crew.desk.ctx, job)
    crew.dispatch()
    return job


def put_shard(crew: Crew, shard: Shard) -> None:
    crew.desk.put(shard_key(shard.job, shard.number, shard.generation), shard.to_json().encode())


def put_manifest(crew: Crew, manifest: Manifest) -> None:
    crew.desk.put(manifest_key(manifest.job, manifest.generation), manifest.to_json().encode())


def a_retry(crew: Crew, job: str, number: int) -> None:
    """Send the second item of a shard again, which `gpupipe retry` refuses for cancelled jobs (so far)."""
    shard = Shard.from_json(crew.desk.get(shard_key(job, number)))
    carried = {"done": 1, "failed": 0, "annotations": 3}
    put_shard(crew, replace(shard, generation=1, items=shard.items[1:], carried=carried))
    put_manifest(crew, replace(crew.desk.manifest(job), generation=1, shards={str(number): 1}))


def dropped(crew: Crew, *names: str, content: bytes = b"x") -> None:
    """Objects that any S3 client put, with dispatch told of them by their events."""
    for name in names:
        crew.desk.put(f"incoming/{PROJECT}/{name}", content)
    listed = [one for one in newest_objects(crew.desk.ctx, incoming_prefix(PROJECT)) if str(one["key"]).endswith(names)]
    announce_objects(crew.desk.ctx, listed)
    crew.dispatch()


def dropin_job(crew: Crew) -> str:
    job = crew.ledger.dropin_job(PIPELINE, PROJECT)
    assert job is not None
    return job


def what_counts(totals: Totals) -> Totals:
    """Without the times of beginning and end, which commits tell to the second a worker counts."""
    return replace(totals, first_started_at=None, last_finished_at=None)


def whole_ledger(crew: Crew) -> list[str]:
    """Every row of the table."""
    rows = crew.desk.ctx.aws.client("dynamodb").scan(TableName=crew.desk.ctx.aws.stack.table)["Items"]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


# --- a lost table ---


def test_a_half_finished_job_comes_back_as_it_was(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.commit(job, 0)
    crew.commit(job, 1, failing=[1])
    before, record = crew.totals(job), crew.ledger.job(job)
    crew.forget_everything()
    assert rebuild(crew.desk.ctx) == Rebuilt(jobs=1, shards=3, commits=2)
    after = crew.totals(job)
    assert what_counts(after) == what_counts(before)
    assert after.done == 3
    assert after.first_started_at is not None
    assert after.last_finished_at == pytest.approx(before.last_finished_at, abs=1.0)
    assert record is not None
    assert crew.ledger.active_jobs(PIPELINE) == [replace(record, state=JobState.PENDING)]


def test_finished_jobs_are_finished_when_they_were(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=1)
    crew.commit(job, 0, ago_s=3600)
    before = crew.ledger.job(job)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    after = crew.ledger.job(job)
    assert before is not None
    assert after is not None
    assert after.finished_at == crew.totals(job).last_finished_at == pytest.approx(time.time() - 3600, abs=300)
    assert replace(after, finished_at=None) == replace(before, finished_at=None)
    assert crew.ledger.active_jobs(PIPELINE) == []


def test_the_guard_sends_what_is_missing_in_the_queue_and_no_more(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.commit(job, 0)
    crew.sent()
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    crew.guard()
    assert [(message.number, message.generation) for message in crew.sent()] == [(1, 0), (2, 0)]
    for number in (1, 2):
        crew.commit(job, number)
    assert state_of(crew, job) is JobState.FINISHED


def test_of_an_endpoint_what_is_open_comes_back_as_sent_by_nobody(crew: Crew, tmp_path: Path) -> None:
    # given a job of an asynchronous endpoint, whose requests are in nobody's queue of ours
    job = a_job(crew, tmp_path)
    crew.commit(job, 0)
    crew.forget_everything()
    ctx = crew.desk.ctx
    rebuild(JobsContext.of(ctx.aws, a_config(ctx.aws.stack, kind="endpoint")))
    # then the guard has to send the shards that are open, and those alone
    assert [row.number for row in crew.ledger.shards(job) if row.is_unsent and row.is_open] == [1, 2]
    assert crew.totals(job).done == 2


def test_where_the_queue_kept_its_messages_none_is_sent_twice(crew: Crew, tmp_path: Path) -> None:
    a_job(crew, tmp_path)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    crew.guard()
    assert [message.number for message in crew.sent()] == [0, 1, 2]


def test_a_retry_comes_back_with_what_it_carries(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=2)
    crew.commit(job, 0, failing=[1])
    crew.commit(job, 1)
    retry_failed(crew.desk.ctx, job)
    announce_manifest(crew.desk.ctx, job, 1)
    crew.dispatch()
    before = crew.totals(job)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    assert what_counts(crew.totals(job)) == what_counts(before)
    record = crew.ledger.job(job)
    assert record is not None
    assert (record.generation, record.state) == (1, JobState.PENDING)
    crew.commit(job, 0, 1)
    assert (crew.totals(job).done, crew.totals(job).failed) == (4, 0)
    assert state_of(crew, job) is JobState.FINISHED


def test_a_held_job_is_held_again(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, hold=True)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    assert state_of(crew, job) is JobState.HELD


def test_a_cancelled_job_is_cancelled_again_and_keeps_its_results(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.commit(job, 0)
    cancel(crew.desk.ctx, job)
    before = crew.totals(job)
    crew.forget_everything()
    assert rebuild(crew.desk.ctx) == Rebuilt(jobs=1, shards=3, commits=1, cancelled=1)
    assert what_counts(crew.totals(job)) == what_counts(before)
    assert state_of(crew, job) is JobState.CANCELLED
    assert crew.ledger.active_jobs(PIPELINE) == []


def test_what_was_sent_again_after_it_was_cancelled_is_not_cancelled(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=2)
    crew.commit(job, 0, failing=[1])
    crew.desk.put(cancelled_key(job), b"")
    wait_for_the_next_second_of_s3(crew, cancelled_key(job))
    a_retry(crew, job, 0)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    states = [row.state for row in crew.ledger.shards(job)]
    assert states == [ShardState.PENDING, ShardState.CANCELLED]
    assert state_of(crew, job) is JobState.PENDING


def wait_for_the_next_second_of_s3(crew: Crew, key: str) -> None:
    """S3 tells times in seconds."""

    def written(name: str) -> Any:
        return crew.desk.s3.head_object(Bucket=crew.desk.ctx.bucket, Key=name)["LastModified"]

    for _ in range(10_000):
        crew.desk.put("probe")
        if written("probe") > written(key):
            return
    raise AssertionError("the time stands still")


def test_drafts_stay_drafts(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.desk.s3.delete_object(Bucket=crew.desk.ctx.bucket, Key=manifest_key(job))
    crew.desk.put("jobs/drafts/abc.json", b"{}")
    crew.forget_everything()
    assert rebuild(crew.desk.ctx) == Rebuilt()
    assert whole_ledger(crew) == []


def test_one_job_that_cannot_be_read_does_not_keep_others_lost(crew: Crew, tmp_path: Path) -> None:
    damaged, sound = a_job(crew, tmp_path / "a"), a_job(crew, tmp_path / "b")
    crew.desk.put(job_key(damaged), b'{"version": 99}')
    crew.forget_everything()
    rebuilt = rebuild(crew.desk.ctx)
    assert len(rebuilt.unreadable) == 1
    assert damaged in rebuilt.unreadable[0]
    assert crew.totals(sound).items == 6


# --- a ledger that is right, or nearly ---


def test_a_ledger_that_is_right_is_left_alone(crew: Crew, tmp_path: Path) -> None:
    running, finished = a_job(crew, tmp_path / "a"), a_job(crew, tmp_path / "b", shards=1)
    crew.commit(running, 0)
    assert crew.ledger.start_shard(running, 1, 0, MACHINE)
    assert crew.ledger.mark_dead(running, 2, 0, "tried too often")
    crew.commit(finished, 0)
    dropped(crew, "a.jpg", "b.jpg", "c.jpg", "notes.txt")
    before = whole_ledger(crew)
    assert rebuild(crew.desk.ctx) == Rebuilt()
    assert whole_ledger(crew) == before


def test_rebuilding_twice_changes_nothing_more(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.commit(job, 0)
    dropped(crew, "a.jpg", "b.jpg", "c.jpg")
    crew.forget_everything()
    assert rebuild(crew.desk.ctx) != Rebuilt()
    before = whole_ledger(crew)
    assert rebuild(crew.desk.ctx) == Rebuilt()
    assert whole_ledger(crew) == before


def test_a_commit_whose_row_was_lost_is_counted_and_ends_the_job(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=2)
    crew.commit(job, 0)
    crew.commit(job, 1, failing=[0], in_ledger=False)
    assert rebuild(crew.desk.ctx) == Rebuilt(commits=1)
    totals = crew.totals(job)
    assert (totals.done, totals.failed, dict(totals.counts)) == (3, 1, {"annotations": 9})
    assert state_of(crew, job) is JobState.FINISHED


def test_a_retry_whose_event_was_lost_begins(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=2)
    crew.commit(job, 0, failing=[1])
    crew.commit(job, 1)
    assert state_of(crew, job) is JobState.FINISHED
    retry_failed(crew.desk.ctx, job)
    assert rebuild(crew.desk.ctx) == Rebuilt(jobs=1, shards=1)
    totals = crew.totals(job)
    assert (totals.done, totals.pending) == (3, 1)
    assert [record.job for record in crew.ledger.active_jobs(PIPELINE)] == [job]


def test_a_job_that_was_cancelled_half_way_is_cancelled(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path)
    crew.desk.put(cancelled_key(job), b"")
    assert rebuild(crew.desk.ctx).cancelled == 1
    assert state_of(crew, job) is JobState.CANCELLED


def test_a_job_that_was_done_when_it_was_cancelled_is_finished(crew: Crew, tmp_path: Path) -> None:
    job = a_job(crew, tmp_path, shards=1)
    crew.commit(job, 0)
    crew.desk.put(cancelled_key(job), b"")
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    assert state_of(crew, job) is JobState.FINISHED


# --- drop-ins ---


def test_an_open_drop_in_job_comes_back_takes_no_more_and_ends(crew: Crew) -> None:
    dropped(crew, "a.jpg", "b.jpg", "c.jpg")
    job = dropin_job(crew)
    crew.commit(job, 0)
    before = crew.totals(job)
    crew.forget_everything()
    crew.sent()
    assert rebuild(crew.desk.ctx) == Rebuilt(jobs=1, shards=2, commits=1)
    assert what_counts(crew.totals(job)) == what_counts(before)
    # then what is dropped in again is known, and what is new opens another job
    dropped(crew, "a.jpg", "d.jpg")
    assert dropin_job(crew) != job
    assert crew.totals(dropin_job(crew)).items == 2  # a.jpg was written anew: another version
    # and it goes to its end
    crew.guard()
    assert job in [message.job for message in crew.sent()]
    crew.commit(job, 1)
    crew.guard()
    assert state_of(crew, job) is JobState.FINISHED
    assert crew.desk.manifest(job).items == 3


def test_a_drop_in_job_keeps_its_options_though_the_functions_have_others_by_now(crew: Crew) -> None:
    # given an open job whose project had options of its own
    earlier = replace(crew, dropin_options={"field*": {"prompts": ["tree"]}})
    dropped(earlier, "a.jpg", "b.jpg", "c.jpg")
    job = dropin_job(earlier)
    earlier.commit(job, 0)
    written = crew.desk.get(job_key(job))
    # when the file has changed, and then the table is lost
    crew.forget_everything()
    crew.sent()
    rebuild(crew.desk.ctx)
    # then the job's end, and what of it is sent again, have the options of its job.json
    crew.guard()
    assert [(message.job, message.number) for message in crew.sent()] == [(job, 1)]
    crew.commit(job, 1, failing=[0])
    crew.guard()
    assert state_of(crew, job) is JobState.FINISHED
    assert retry_failed(crew.desk.ctx, job).items == 1
    crew.dispatch()
    shards = [*crew.desk.shards(job), *crew.desk.shards(job, 1)]
    assert [dict(shard.options) for shard in shards] == [{"prompts": ["tree"]}] * 3
    assert crew.desk.get(job_key(job)) == written
    # and what is dropped in now begins a job with the options of now
    dropped(crew, "d.jpg")
    assert crew.desk.spec(dropin_job(crew)).options == {"prompts": []}


def test_what_a_lost_job_had_taken_is_not_taken_again(crew: Crew) -> None:
    dropped(crew, "a.jpg", "b.jpg", "c.jpg")
    job = dropin_job(crew)
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    announce_objects(crew.desk.ctx, newest_objects(crew.desk.ctx, incoming_prefix(PROJECT)))
    crew.dispatch()
    assert [record.job for record in crew.ledger.jobs()] == [job]
    assert crew.totals(job).items == 3


def test_a_closed_drop_in_job_comes_back_closed(crew: Crew) -> None:
    dropped(crew, "a.jpg", "b.jpg", "c.jpg")
    job = dropin_job(crew)
    for number in (0, 1):
        crew.commit(job, number)
    crew.guard()
    before = crew.ledger.job(job)
    assert before is not None
    assert (before.state, before.intake) == (JobState.FINISHED, Intake.SEALED)
    crew.forget_everything()
    assert rebuild(crew.desk.ctx) == Rebuilt(jobs=1, shards=2, commits=2)
    after = crew.ledger.job(job)
    assert after is not None
    assert replace(after, finished_at=before.finished_at) == before
    assert rebuild(crew.desk.ctx) == Rebuilt()


def test_objects_that_nobody_took_are_told_to_dispatch(crew: Crew) -> None:
    dropped(crew, "a.jpg")
    crew.desk.put(f"incoming/{PROJECT}/unnoticed.jpg")
    crew.desk.put(f"incoming/{PROJECT}/notes.txt")
    crew.desk.put("incoming/field8/also unnoticed.jpg")
    assert rebuild(crew.desk.ctx) == Rebuilt(objects=2)
    crew.dispatch()
    assert crew.totals(dropin_job(crew)).items == 2
    assert crew.ledger.dropin_job(PIPELINE, "field8") is not None
    assert rebuild(crew.desk.ctx) == Rebuilt()


def test_a_newer_version_that_nobody_took_is_told_too(crew: Crew) -> None:
    dropped(crew, "a.jpg")
    crew.desk.put(f"incoming/{PROJECT}/a.jpg", b"changed")
    assert rebuild(crew.desk.ctx) == Rebuilt(objects=1)


def test_a_shard_of_the_lost_future_is_registered_and_its_number_never_given_out_again(crew: Crew) -> None:
    dropped(crew, "a.jpg", "b.jpg")
    job = dropin_job(crew)
    past = crew.desk.ctx.aws.client("dynamodb").scan(TableName=crew.desk.ctx.aws.stack.table)["Items"]
    dropped(crew, "c.jpg", "d.jpg")
    crew.commit(job, 1)
    # when the table goes back to what it was before the second shard
    crew.forget_everything()
    for row in past:
        crew.desk.ctx.aws.client("dynamodb").put_item(TableName=crew.desk.ctx.aws.stack.table, Item=row)
    assert rebuild(crew.desk.ctx) == Rebuilt(shards=1, commits=1)
    # then it counts, and what comes next goes elsewhere
    assert (crew.totals(job).items, crew.totals(job).done) == (4, 2)
    dropped(crew, "e.jpg")
    assert dropin_job(crew) != job
    results = [parse_result_key(key) for key in crew.desk.keys(f"jobs/{job}/results/")]
    assert results == [(1, 0)]


def test_a_shard_that_dispatch_gave_up_stays_given_up(crew: Crew) -> None:
    dropped(crew, "a.jpg", "b.jpg")
    job = dropin_job(crew)
    # given a shard written by an invocation that died then, whose keys another took anew
    given_up = Shard.from_json(crew.desk.get(shard_key(job, 0)))
    put_shard(crew, replace(given_up, number=1))
    put_shard(crew, replace(given_up, number=2))
    crew.forget_everything()
    rebuild(crew.desk.ctx)
    rows = {row.number: row.items for row in crew.ledger.shards(job)}
    assert rows == {2: 2}
