"""A job is cancelled in whatever state it is, and nothing of it begins any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.jobs.crew import Crew
from tests.jobs.desk import Desk, a_photo

from gpupipe.errors import JobError, StoppedError
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.submit import SubmitProgress, submit
from gpupipe.jobs.watch import observe
from gpuworker.contract import cancelled_key
from gpuworker.ledger import JobState


@pytest.fixture
def crew(desk: Desk) -> Crew:
    return Crew(desk=desk)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "ab":
        a_photo(tmp_path / f"{name}.jpg")
    return tmp_path


def test_what_is_open_is_given_up_and_what_is_done_stays(crew: Crew, images: Path) -> None:
    ctx = crew.desk.ctx
    job = submit(ctx, [str(images)], project="field7").job
    announce_manifest(ctx, job)
    crew.dispatch()
    done = cancel(ctx, job[:20])
    assert (done.job, done.shards, done.items_done, done.items_cancelled) == (job, 1, 0, 2)
    assert ctx.exists(cancelled_key(job))
    view = observe(ctx, job)
    assert (view.job.state, view.is_over, view.totals.cancelled) == (JobState.CANCELLED, True, 2)
    # a worker that holds its message is told to drop it; again is no harm
    assert crew.ledger.start_shard(job, 0, 0, "i-1") is None
    assert cancel(ctx, job).shards == 0


def test_a_finished_job_cannot_be_cancelled(crew: Crew, images: Path) -> None:
    ctx = crew.desk.ctx
    job = submit(ctx, [str(images)], project="field7").job
    announce_manifest(ctx, job)
    crew.dispatch()
    crew.commit(job, 0)
    with pytest.raises(JobError, match=r"is finished already.*gpupipe fetch"):
        cancel(ctx, job)
    assert not ctx.exists(cancelled_key(job))


def test_before_dispatch_has_seen_it_the_mark_is_enough(crew: Crew, images: Path) -> None:
    ctx = crew.desk.ctx
    job = submit(ctx, [str(images)], project="field7").job
    assert cancel(ctx, job).shards == 0
    assert observe(ctx, job).is_over
    announce_manifest(ctx, job)
    crew.dispatch()
    assert observe(ctx, job).job.state == JobState.CANCELLED
    assert crew.ledger.start_shard(job, 0, 0, "i-1") is None


def test_a_cancelled_draft_is_not_gone_on_with(crew: Crew, images: Path) -> None:
    def stop(progress: SubmitProgress) -> None:
        if progress.step == "start":
            raise KeyboardInterrupt

    ctx = crew.desk.ctx
    with pytest.raises(StoppedError):
        submit(ctx, [str(images)], project="field7", on_progress=stop)
    (draft,) = [name for name in ctx.folders("jobs/") if name != "drafts"]
    cancel(ctx, draft)
    again = submit(ctx, [str(images)], project="field7")
    assert again.job != draft
    assert (again.is_resumed, again.unchanged) == (False, 2)
    assert list(ctx.folders("jobs/")) == [*sorted({draft, again.job}), "drafts"]


def test_an_unknown_job_is_an_error(crew: Crew) -> None:
    with pytest.raises(JobError, match="there is no job nothing"):
        cancel(crew.desk.ctx, "nothing")
