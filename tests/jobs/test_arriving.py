"""What was dropped in and is no job yet is waited for, and said."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.jobs.crew import Crew, state_of
from tests.jobs.desk import Desk
from tests.jobs.test_listing import record

from gpupipe.errors import InputError, JobError
from gpupipe.jobs.arriving import Arriving, arriving, newest_job
from gpupipe.jobs.rescan import rescan
from gpuworker.ledger import JobState


def waited(desk: Desk, *steps: Any, project: str | None = "field7") -> tuple[str, list[str]]:
    """The job that was waited for, and what was said; one of the steps is done at each look."""
    told: list[str] = []
    left = list(steps)

    def on_wait(text: str) -> None:
        told.append(text)
        assert left, f"waits without end: {text}"
        left.pop(0)()

    ctx = desk.ctx
    _, job = newest_job(ctx.aws, ctx.config, project=project, interval_s=0.0, on_wait=on_wait)
    return job, told


def drop(desk: Desk, *names: str, project: str = "field7") -> None:
    for name in names:
        desk.put(f"incoming/{project}/{name}")


def tell(desk: Desk, project: str = "field7") -> None:
    """What S3's events do: dispatch has a message of all that lies there."""
    rescan(desk.ctx, f"s3://{desk.ctx.bucket}/incoming/{project}/")


def test_images_that_no_job_has_taken_are_waited_for(desk: Desk) -> None:
    # given two images whose events have not come
    crew = Crew(desk=desk)
    drop(desk, "a.jpg", "b.jpg", "notes.txt", "folder/")
    # when they come at the second look, and dispatch handles them at the third
    job, told = waited(desk, lambda: None, lambda: tell(desk), crew.dispatch)
    # then the job is the one that dispatch opened
    assert desk.spec(job).project == "field7"
    lie = (
        f"no job yet in pipeline segment, waiting for dispatch: 2 images lie in s3://{desk.ctx.bucket}/incoming/field7/"
    )
    assert told == [lie, lie, f"{lie}, and 1 event is on the way to dispatch"]


def test_events_are_waited_for_where_the_images_are_gone_already(desk: Desk) -> None:
    crew = Crew(desk=desk)
    drop(desk, "a.jpg")
    tell(desk)
    desk.s3.delete_object(Bucket=desk.ctx.bucket, Key="incoming/field7/a.jpg")
    job, told = waited(desk, crew.dispatch)
    assert desk.spec(job).project == "field7"
    assert told == ["no job yet in pipeline segment, waiting for dispatch: 1 event is on the way to dispatch"]


def test_a_name_that_no_project_can_have_is_said_to_be_none(desk: Desk) -> None:
    drop(desk, "a.jpg", project="my field")
    with pytest.raises(InputError, match="'my field' cannot be a project's name") as caught:
        waited(desk, project="my field")
    assert "'my-field'" in caught.value.hint


def test_what_is_dropped_in_after_a_finished_job_is_waited_for_and_not_that_job(desk: Desk) -> None:
    # given a finished job of the project, and one more image
    crew = Crew(desk=desk)
    drop(desk, "a.jpg")
    tell(desk)
    crew.dispatch()
    (first,) = [one.job for one in crew.ledger.jobs(project="field7")]
    assert waited(desk)[0] == first
    crew.commit(first, 0)
    crew.guard()
    assert state_of(crew, first) is JobState.FINISHED
    assert waited(desk) == (first, [])
    drop(desk, "b.jpg")
    # when its event comes
    later = Crew(desk=desk, clock=lambda: time.time() + 1)  # ids tell seconds apart
    job, told = waited(desk, lambda: tell(desk), later.dispatch)
    # then its job is watched
    assert job != first
    assert "1 image lies in" in told[0]


def test_what_was_dropped_in_before_a_finished_job_is_not_waited_for(desk: Desk) -> None:
    drop(desk, "lost.jpg")
    job = "29991101-100000-field7-aaaa"
    desk.ctx.ledger.put_job(record(job, state=JobState.FINISHED, created_at=32_500_000_000.0))
    assert waited(desk) == (job, [])


def test_without_a_project_whatever_is_dropped_in_is_waited_for_where_there_is_no_job(desk: Desk) -> None:
    crew = Crew(desk=desk)
    drop(desk, "a.jpg", project="field8")
    job, told = waited(desk, lambda: tell(desk, "field8"), crew.dispatch, project=None)
    assert desk.spec(job).project == "field8"
    assert f"1 image lies in s3://{desk.ctx.bucket}/incoming/" in told[0]


def test_another_projects_images_are_not_waited_for(desk: Desk) -> None:
    drop(desk, "a.jpg", project="field70")
    assert arriving([desk.ctx], "field7") == []


def test_nothing_on_its_way_is_an_error_that_says_where_it_was_looked_for(desk: Desk) -> None:
    with pytest.raises(JobError) as caught:
        waited(desk)
    assert caught.value.message == (
        f"there is no job of project field7: no image lies in s3://{desk.ctx.bucket}/incoming/field7/, and no event is "
        "on its way."
    )
    assert "gpupipe submit" in caught.value.hint


def test_files_that_are_no_inputs_are_an_error_that_says_so(desk: Desk) -> None:
    drop(desk, "notes.txt")
    with pytest.raises(JobError, match=r"the files that lie there are none that task segment takes \(.*\.jpg.*\)"):
        waited(desk)


def test_a_pipeline_that_no_up_has_made_yet_is_passed_over(desk: Desk) -> None:
    desk.s3.delete_bucket(Bucket=desk.ctx.bucket)
    desk.sqs.delete_queue(QueueUrl=desk.ctx.event_queue_url)
    assert arriving([desk.ctx], "field7") == []
    with pytest.raises(JobError, match="there is no job of project field7"):
        waited(desk)


def test_after_a_minute_it_says_what_can_be_done() -> None:
    one = Arriving(pipeline="segment", place="s3://b/incoming/p/", images=1_000, events=2)
    lie = "1,000 or more images lie in s3://b/incoming/p/"
    assert one.words(59).endswith(f"{lie}, and 2 events are on the way to dispatch")
    assert one.words(130).endswith(
        "; for 2 minutes now: `gpupipe submit s3://b/incoming/p/ --pipeline segment` tells it again; "
        "`gpupipe logs --pipeline segment` shows what it does"
    )
    any_project = Arriving(pipeline="segment", place="s3://b/incoming/", images=1, events=0)
    assert "`gpupipe submit s3://b/incoming/PROJECT/ --pipeline segment` tells it again" in any_project.words(61)
