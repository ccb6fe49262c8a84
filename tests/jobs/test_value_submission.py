"""Values become a job: shards that carry them, found again by what they are, and small enough to be sent."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.crew import Crew
from tests.jobs.desk import PIPELINE, Desk, a_config, a_desk
from tests.jobs.test_retry import started
from tests.toy_tasks import add_toys

from gpupipe.errors import InputError, StoppedError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.fetch import fetch
from gpupipe.jobs.requests import prepare
from gpupipe.jobs.rescan import rescan
from gpupipe.jobs.retry import retry_failed
from gpupipe.jobs.submit import SubmitProgress, SubmittedJob, submit
from gpupipe.local.emulators import Emulators
from gpuworker.contract import MAX_SHARD_ITEMS, SHARD_DOCUMENT_BYTES, Item, read_shard, shard_key

_numbers = itertools.count(1)


@pytest.fixture
def desk(emulated: Emulators, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A pipeline of the task `upper`."""
    add_toys(monkeypatch)
    return a_desk(emulated, f"words{next(_numbers)}", task="upper")


def send(desk: Desk, *values: Any, **more: Any) -> SubmittedJob:
    text = "\n".join(map(json.dumps, values)).encode()
    return submit(desk.ctx, ["-"], project="animals", stdin=io.BytesIO(text), **more)


def test_values_travel_in_shards_and_nothing_is_uploaded_beside(desk: Desk) -> None:
    # when
    job = send(desk, "fox", {"name": "owl", "seed": 7})
    # then
    [shard] = desk.shards(job.job)
    assert list(shard.items) == [
        Item.inline(project="animals", name="item-00001", value={"prompt": "fox"}),
        Item.inline(project="animals", name="owl", value={"name": "owl", "seed": 7}),
    ]
    assert (job.task, job.items, job.shards, job.uploaded, job.bytes) == ("upper", 2, 1, 2, shard.items[0].size + 23)
    assert desk.keys("inputs/") == desk.keys("values/") == []


def test_the_same_values_again_are_the_same_job_wherever_they_come_from(desk: Desk, tmp_path: Path) -> None:
    job = send(desk, "fox", {"seed": 7, "prompt": "owl"})
    file = tmp_path / "a.json"
    file.write_text('[{"prompt": "fox"},\n {"prompt": "owl", "seed": 7}]')
    again = submit(desk.ctx, [str(file)], project="animals")
    assert (again.job, again.attached, again.state) == (job.job, True, "submitted")
    # and others are another, also where only a name is
    assert send(desk, "fox", {"seed": 8, "prompt": "owl"}).job != job.job
    assert send(desk, {"id": "a", "prompt": "fox"}, {"seed": 7, "prompt": "owl"}).job != job.job


def test_a_submission_that_was_stopped_goes_on_as_the_same_job(desk: Desk) -> None:
    # given
    values = [{"prompt": f"animal {number}"} for number in range(1000)]

    def stop(now: SubmitProgress) -> None:
        if now.step == "upload":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="of 1,000 items are uploaded, nothing has started"):
        send(desk, *values, on_progress=stop)
    [draft] = [name for name in desk.ctx.folders("jobs/") if name != "drafts"]
    # when
    job = send(desk, *values)
    # then
    assert (job.job, job.is_resumed) == (draft, True)
    assert [one.value for shard in desk.shards(job.job) for one in shard.items] == values
    assert all(len(shard.items) <= MAX_SHARD_ITEMS for shard in desk.shards(job.job))


@pytest.mark.parametrize("letter", ["x", "ü", "\N{FOX FACE}"])
def test_shards_of_large_values_hold_fewer_of_them(desk: Desk, letter: str) -> None:
    # given values of nearly 64 KiB each, which JSON in ASCII makes up to three times as long
    prompt = letter * (65_000 // len(letter.encode()))
    job = send(desk, *({"prompt": prompt, "seed": number} for number in range(150)))
    # then
    assert job.shards > 1
    for number in range(job.shards):
        text = desk.get(shard_key(job.job, number))
        assert len(text) < SHARD_DOCUMENT_BYTES
        read_shard(text, place=(job.job, number, 0), pipeline=PIPELINE, project="animals")


def test_a_mistake_leaves_nothing_behind(desk: Desk) -> None:
    with pytest.raises(InputError, match="line 2"):
        send(desk, "fox", 7)
    assert desk.keys() == []


def test_failed_values_are_sent_again_and_fetched_with_the_others(desk: Desk, tmp_path: Path) -> None:
    # given a job of which one value failed
    crew = Crew(desk=desk)
    job = send(desk, "fox", {"name": "owl", "seed": 7}, "dog")
    started(crew, job.job)
    crew.commit(job.job, 0, failing=[1])
    # when
    again = retry_failed(desk.ctx, job.job)
    started(crew, job.job, again.generation)
    # then its shard carries that value only
    [shard] = desk.shards(job.job, again.generation)
    assert [(one.output, one.value) for one in shard.items] == [("owl", {"name": "owl", "seed": 7})]
    assert shard.carried["done"] == 2
    # and when that failed too, the list of failures has it
    crew.commit(job.job, 0, again.generation, failing=[0])
    fetch(desk.ctx.aws, job=job.job, folder=tmp_path / "out")
    [failure] = json.loads((tmp_path / "out/failures.json").read_text())
    assert (failure["file_name"], failure["value"]) == ("owl", {"name": "owl", "seed": 7})
    assert "mend it, and submit it" in failure["advice"]


def test_values_of_a_shard_that_was_given_up_are_failures_that_show_them(desk: Desk, tmp_path: Path) -> None:
    crew = Crew(desk=desk)
    job = send(desk, "fox")
    started(crew, job.job)
    crew.ledger.mark_dead(job.job, 0, 0, "tried 3 times")
    report = fetch(desk.ctx.aws, job=job.job, folder=tmp_path / "out")
    [failure] = json.loads((tmp_path / "out/failures.json").read_text())
    assert (failure["code"], failure["value"]) == ("not_processed", {"prompt": "fox"})
    assert report.merged.name == "results.jsonl"


def test_a_project_keeps_values_of_two_jobs_apart_that_are_called_by_their_place(desk: Desk, tmp_path: Path) -> None:
    # given two jobs, each with a value without a name, and a named one that is another
    crew = Crew(desk=desk)
    for values in (["fox", {"id": "a", "prompt": "old"}], ["owl", {"id": "a", "prompt": "new"}]):
        job = send(desk, *values)
        started(crew, job.job)
        crew.commit(job.job, 0)
    # when
    report = fetch(desk.ctx.aws, project="animals", folder=tmp_path / "out")
    # then
    found = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    by_place = [one for one in found if one["file_name"] != "a"]
    assert sorted(one["value"]["prompt"] for one in by_place) == ["fox", "owl"]
    assert all(one["file_name"].startswith("item-00001~") for one in by_place)
    assert len({one["file_name"] for one in found}) == report.done == 3


def test_a_job_of_values_is_cancelled_like_any_other(desk: Desk) -> None:
    job = send(desk, "fox")
    started(Crew(desk=desk), job.job)
    assert cancel(desk.ctx, job.job).items_cancelled == 1


def test_what_needs_files_is_refused_for_a_task_of_values(desk: Desk) -> None:
    with pytest.raises(InputError, match=r"task upper takes values \(JSON\), no files: s3://"):
        rescan(desk.ctx, f"s3://{desk.ctx.bucket}/incoming/animals/")
    config = a_config(desk.ctx.aws.stack, kind="endpoint", task="upper")
    with pytest.raises(InputError, match=r"task upper takes values \(JSON\), no files"):
        prepare(JobsContext.of(desk.ctx.aws, config), "a.jpg")
