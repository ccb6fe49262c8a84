"""Failed items go again as the next generation, what is done stays, and no kill makes two of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.jobs.crew import MACHINE, Crew
from tests.jobs.desk import Desk, a_desk, a_photo
from tests.jobs.test_dlq import spread

from gpupipe.errors import IntegrityError, JobError
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.retry import RetriedJob, retry_failed
from gpupipe.jobs.submit import submit
from gpupipe.local.emulators import Emulators
from gpuworker.contract import Message, manifest_key, shard_key
from gpuworker.ledger import JobState, ShardState


@pytest.fixture
def crew(desk: Desk) -> Crew:
    return Crew(desk=desk)


@pytest.fixture
def job(crew: Crew, tmp_path: Path) -> str:
    """Four images in one shard, dispatched."""
    for name in "abcd":
        a_photo(tmp_path / f"{name}.jpg")
    return started(crew, submit(crew.desk.ctx, [str(tmp_path)], project="field7").job)


def started(crew: Crew, job: str, generation: int = 0) -> str:
    """Let dispatch see a manifest."""
    announce_manifest(crew.desk.ctx, job, generation)
    crew.dispatch()
    crew.sent()
    return job


def test_failed_items_are_sent_again_and_the_counts_of_the_others_are_carried(crew: Crew, job: str) -> None:
    crew.commit(job, 0, failing=[1, 3])
    told: list[tuple[int, int]] = []
    retried = retry_failed(crew.desk.ctx, job, on_progress=lambda *now: told.append(now))
    assert (retried, told) == (RetriedJob(job=job, generation=1, items=2, shards=1), [(1, 1)])
    (shard,) = crew.desk.shards(job, 1)
    (first,) = crew.desk.shards(job)
    assert shard.items == (first.items[1], first.items[3])
    assert shard.carried == {"done": 2, "failed": 0, "annotations": 6}
    assert (shard.generation, shard.options) == (1, first.options)
    # one item more succeeds: the totals are those of the job, counted once
    announce_manifest(crew.desk.ctx, job, 1)
    crew.dispatch()
    assert crew.sent() == [Message(job=job, number=0, generation=1)]
    crew.commit(job, 0, 1, failing=[0])
    totals = crew.totals(job)
    assert (totals.items, totals.done, totals.failed, dict(totals.counts)) == (4, 3, 1, {"annotations": 9})
    # and a third time only the last
    again = retry_failed(crew.desk.ctx, job)
    assert (again.generation, again.items) == (2, 1)
    assert crew.desk.shards(job, 2)[0].carried == {"done": 3, "failed": 0, "annotations": 9}
    started(crew, job, 2)
    crew.commit(job, 0, 2)
    assert (crew.totals(job).done, crew.totals(job).failed) == (4, 0)
    record = crew.ledger.job(job)
    assert record is not None
    assert (record.state, record.generation) == (JobState.FINISHED, 2)


def test_what_lies_beside_an_image_goes_with_it_again(emulated: Emulators, tmp_path: Path) -> None:
    model = {"weights": "facebook/sam3", "revision": "0" * 40}
    crew = Crew(desk=a_desk(emulated, "boxes", task_options={"engine": "sam3"}, model=model))
    for place, name in enumerate("ab", start=1):
        a_photo(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.jpg.prompts.json").write_text(json.dumps({"boxes": [{"box": [place, 0, 9, 9]}]}))
    job = started(crew, submit(crew.desk.ctx, [str(tmp_path)], project="field7").job)
    crew.commit(job, 0, failing=[1])
    assert retry_failed(crew.desk.ctx, job).items == 1
    (item,) = crew.desk.shards(job, 1)[0].items
    assert (item.file_name, item.sidecar["boxes"][0]["x"]) == ("b.jpg", 2)


def test_dead_shards_are_sent_again_whole_and_others_are_left_alone(crew: Crew, tmp_path: Path) -> None:
    for name in "abc":
        a_photo(tmp_path / f"{name}.jpg")
    job = submit(crew.desk.ctx, [str(tmp_path)], project="field7").job
    spread(crew.desk, job)
    started(crew, job)
    crew.commit(job, 0)
    crew.commit(job, 1, failing=[0])
    crew.ledger.start_shard(job, 2, 0, MACHINE)
    crew.ledger.mark_dead(job, 2, 0, "nobody came back")
    crew.ledger.finish_if_complete(job)
    assert retry_failed(crew.desk.ctx, job).shards == 2
    assert crew.desk.manifest(job, 1).shards == {"1": 1, "2": 1}
    assert [shard.carried for shard in crew.desk.shards(job, 1)] == [{"done": 0, "failed": 0}] * 2
    started(crew, job, 1)
    assert [shard.state for shard in crew.ledger.shards(job)] == [
        ShardState.DONE,
        ShardState.PENDING,
        ShardState.PENDING,
    ]


def test_killed_before_the_manifest_the_same_call_begins_anew(crew: Crew, job: str) -> None:
    crew.commit(job, 0, failing=[1])
    crew.desk.put(shard_key(job, 0, 1), b"half a document")
    assert retry_failed(crew.desk.ctx, job).items == 1
    assert len(crew.desk.shards(job, 1)[0].items) == 1


def test_killed_after_the_manifest_the_same_call_sets_it_going(crew: Crew, job: str) -> None:
    crew.commit(job, 0, failing=[1])
    first = retry_failed(crew.desk.ctx, job)
    crew.desk.received(crew.desk.ctx.event_queue_url)
    # S3's event was lost
    assert retry_failed(crew.desk.ctx, job) == first
    assert crew.desk.versions("jobs/")[manifest_key(job, 1)] == 1
    crew.dispatch()
    assert crew.sent() == [Message(job=job, number=0, generation=1)]


def test_a_commit_that_the_ledger_does_not_know_is_counted_instead_of_repeated(crew: Crew, job: str) -> None:
    crew.commit(job, 0, in_ledger=False)
    crew.ledger.start_shard(job, 0, 0, MACHINE)
    crew.ledger.mark_dead(job, 0, 0, "nobody came back")
    crew.ledger.finish_if_complete(job)
    assert retry_failed(crew.desk.ctx, job).items == 0
    totals = crew.totals(job)
    assert (totals.done, totals.dead, dict(totals.counts)) == (4, 0, {"annotations": 12})


def test_nothing_failed_is_nothing_to_do(crew: Crew, job: str) -> None:
    crew.commit(job, 0)
    assert retry_failed(crew.desk.ctx, job) == RetriedJob(job=job, generation=1, items=0, shards=0)
    assert not crew.desk.ctx.exists(manifest_key(job, 1))


def test_jobs_that_cannot_be_retried_now_say_why(crew: Crew, job: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"is not finished.*gpupipe watch"):
        retry_failed(crew.desk.ctx, job)
    waiting = submit(crew.desk.ctx, [str(tmp_path)], project="other").job
    with pytest.raises(JobError, match="has not begun yet"):
        retry_failed(crew.desk.ctx, waiting)
    crew.ledger.cancel_job(job, "test")
    with pytest.raises(JobError, match=r"was cancelled.*Submit the images again"):
        retry_failed(crew.desk.ctx, job)
    with pytest.raises(JobError, match="there is no job nothing"):
        retry_failed(crew.desk.ctx, "nothing")


def test_lost_documents_are_told(crew: Crew, job: str) -> None:
    crew.commit(job, 0, failing=[1])
    crew.desk.s3.delete_object(Bucket=crew.desk.ctx.bucket, Key=shard_key(job, 0))
    with pytest.raises(IntegrityError, match=r"shards/00000\.json in bucket .* is lost or damaged"):
        retry_failed(crew.desk.ctx, job)
