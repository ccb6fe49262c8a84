"""Which jobs there are, and which one is meant."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.desk import Desk, a_photo

from gpupipe.config import Config
from gpupipe.errors import JobError, NotDeployedError, StoppedError
from gpupipe.jobs.listing import JobSummary, choose_job, list_jobs
from gpupipe.jobs.submit import SubmitProgress, submit
from gpuworker.contract import JobSpec, cancelled_key, job_key
from gpuworker.ledger import JobRecord, JobState

OLD = ("20261101-100000-field7-aaaa", "20261102-100000-field8-bbbb", "20261103-100000-field7-cccc")


def record(job: str, **changes: object) -> JobRecord:
    about: dict[str, object] = {
        "job": job,
        "pipeline": "segment",
        "project": job.split("-")[2],
        "task": "segment",
        "kind": "submitted",
        "state": JobState.RUNNING,
        "created_at": 5.0,
        "items": 3,
        "shards": 1,
    }
    return JobRecord(**{**about, **changes})  # type: ignore[arg-type]


@pytest.fixture
def three(desk: Desk) -> Desk:
    """A desk with three jobs that dispatch knows, and one of another pipeline."""
    for job in OLD:
        desk.ctx.ledger.put_job(record(job))
    desk.ctx.ledger.put_job(record("20261104-100000-field7-dddd", pipeline="other"))
    return desk


def listed(desk: Desk, **how: Any) -> list[JobSummary]:
    return list(list_jobs([desk.ctx], **how))


def chosen(desk: Desk, **how: Any) -> str:
    ctx, job = choose_job(desk.ctx.aws, desk.ctx.config, **how)
    assert ctx.pipeline == desk.ctx.pipeline
    return job


def test_jobs_are_listed_newest_first_within_their_pipelines(three: Desk) -> None:
    assert [job.job for job in listed(three)] == list(reversed(OLD))
    assert [job.job for job in listed(three, project="field7", limit=1)] == [OLD[2]]
    first = listed(three)[0]
    assert (first.state, first.project, first.items, first.is_over) == ("running", "field7", 3, False)


def test_jobs_that_dispatch_has_not_seen_are_listed_by_their_documents(three: Desk, tmp_path: Path) -> None:
    def stop(progress: SubmitProgress) -> None:
        if progress.step == "start":
            raise KeyboardInterrupt

    a_photo(tmp_path / "a.jpg")
    started = submit(three.ctx, [str(tmp_path)], project="field7")
    with pytest.raises(StoppedError):
        submit(three.ctx, [str(tmp_path)], project="field8", on_progress=stop)
    with pytest.raises(StoppedError):
        submit(three.ctx, [str(tmp_path)], project="field9", on_progress=stop)
    (draft,) = [name for name in three.ctx.folders("jobs/") if "field9" in name]
    three.put(cancelled_key(draft), b"")
    found = {job.project: job for job in listed(three, limit=3)}
    assert (found["field7"].job, found["field7"].state, found["field7"].items) == (started.job, "submitted", 1)
    assert (found["field8"].state, found["field8"].items) == ("uploading", 0)
    assert (found["field9"].state, found["field9"].is_over) == ("cancelled", True)
    # once it is in the ledger, that counts
    three.ctx.ledger.put_job(record(started.job, state=JobState.HELD))
    assert [job.state for job in listed(three) if job.job == started.job] == ["held"]


def test_a_job_that_dispatch_takes_up_meanwhile_is_listed_once(three: Desk, tmp_path: Path) -> None:
    # given a job that waits for dispatch, and a list that has begun
    a_photo(tmp_path / "a.jpg")
    job = submit(three.ctx, [str(tmp_path)], project="field7").job
    begun = list_jobs([three.ctx])
    # when dispatch takes it up
    three.ctx.ledger.put_job(record(job))
    # then it is listed once, as the ledger has it
    assert [(one.job, one.state) for one in begun][:2] == [(job, "running"), (OLD[2], "running")]


def test_damaged_and_foreign_documents_are_passed_over(desk: Desk) -> None:
    today = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    spec = JobSpec(job="x", pipeline="segment", project="p", task="segment", options={}, created_at=1.0)
    desk.put(job_key(f"{today}-p-0001"), b"{}")
    desk.put(job_key(f"{today}-p-0002"), replace(spec, kind="drop-in").to_json().encode())
    desk.put(f"jobs/{today}-p-0003/shards/00000.json", b"{}")
    desk.put("jobs/drafts/abc.json", b"{}")
    assert listed(desk) == []


def test_a_job_is_meant_by_its_name_its_beginning_its_project_or_its_age(three: Desk) -> None:
    assert chosen(three, job=OLD[0]) == OLD[0]
    assert chosen(three, job="20261102") == OLD[1]
    assert chosen(three, project="field8") == OLD[1]
    assert chosen(three) == OLD[2]
    assert chosen(three, pipeline="segment") == OLD[2]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"job": "202611"}, "3 jobs begin with 202611: .*Give more of the name"),
        ({"job": "20261102-100000-field8-bbbc"}, f"there is no job .*Near: {OLD[1]}"),
        ({"job": "zzz"}, f"there is no job zzz.*Near: {OLD[2]}"),
        ({"project": "field9"}, "there is no job of project field9"),
    ],
)
def test_an_unknown_job_is_an_error_with_near_names(three: Desk, how: dict[str, str], message: str) -> None:
    with pytest.raises(JobError, match=message):
        chosen(three, **how)


def test_of_several_pipelines_the_jobs_own_is_found(three: Desk) -> None:
    # given a second pipeline, which no `up` has made yet but for its jobs in the ledger
    aws, one = three.ctx.aws, three.ctx.config
    table = {"kind": "endpoint", "task": "segment"}
    both = Config(stack=one.stack, pipelines={"segment": one.pipelines["segment"], "other": table})
    # then no job needs its pipeline named, and the newest of all is the default
    for how, pipeline, job in [
        ({"job": OLD[0]}, "segment", OLD[0]),
        ({"job": "20261104"}, "other", "20261104-100000-field7-dddd"),
        ({"project": "field8"}, "segment", OLD[1]),
        ({}, "other", "20261104-100000-field7-dddd"),
        ({"pipeline": "segment"}, "segment", OLD[2]),
    ]:
        ctx, found = choose_job(aws, both, **how)
        assert (ctx.pipeline, found) == (pipeline, job)


def test_without_any_job_it_says_how_to_start_one(desk: Desk) -> None:
    with pytest.raises(JobError, match=r"there is no job of this stack.*gpupipe submit"):
        chosen(desk)
    with pytest.raises(JobError, match="Start one with `gpupipe submit`"):
        chosen(desk, job="x")


def test_without_a_stack_it_says_what_to_do(desk: Desk) -> None:
    desk.ctx.aws.client("dynamodb").delete_table(TableName=desk.ctx.aws.stack.table)
    with pytest.raises(NotDeployedError, match=r"ledger of .* is not there"):
        listed(desk)
