"""The same submission while a `run` waits for its job's results: it is that job, though the job is over."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.jobs.crew import Crew
from tests.jobs.test_draft import dispatched
from tests.jobs.test_submit import sent

from gpupipe.jobs.awaited import COUNTS_S, awaits, brought, is_awaited
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.rebuild import rebuild
from gpuworker.ledger import JobState


def test_a_finished_job_that_is_awaited_is_attached_to(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    crew.commit(job, 0, failing=[1])
    again = sent(crew.desk, images)
    assert (again.job, again.attached, again.state, again.replaces) == (job, True, JobState.FINISHED, "")


def test_by_its_content_too(crew: Crew, images: Path, tmp_path: Path) -> None:
    # given the same images with other times, as another machine has them
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    crew.commit(job, 0)
    clone = shutil.copytree(images, tmp_path / "clone" / images.name)
    for path in clone.rglob("*"):
        os.utime(path, (1, 1))
    # then
    again = sent(crew.desk, clone)
    assert (again.job, again.attached) == (job, True)


def test_once_its_results_are_there_it_is_replaced(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    crew.commit(job, 0)
    awaits(crew.desk.ctx, job)
    assert is_awaited(crew.desk.ctx, job)
    brought(crew.desk.ctx, job)
    assert not is_awaited(crew.desk.ctx, job)
    assert sent(crew.desk, images).replaces == job


def test_again_makes_another(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    crew.commit(job, 0)
    assert sent(crew.desk, images, again=True).job != job


def test_a_cancelled_one_is_replaced(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    cancel(crew.desk.ctx, job)
    assert sent(crew.desk, images).job != job


def test_a_dead_one_has_nothing_to_bring_and_is_replaced(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    crew.ledger.start_shard(job, 0, 0, "i-1")
    assert crew.ledger.mark_dead(job, 0, 0, "tried too often")
    assert sent(crew.desk, images).job != job


def test_a_ledger_that_is_rebuilt_takes_the_mark_for_no_job(crew: Crew, images: Path) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    rebuild(crew.desk.ctx)
    assert [one.job for one in crew.ledger.jobs()] == [job]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"at": "now"}', '{"at": NaN}', '{"at": 1e999}'])
def test_a_mark_that_says_nothing_is_none(crew: Crew, images: Path, text: str) -> None:
    job = dispatched(crew, images)
    crew.commit(job, 0)
    crew.desk.put(f"jobs/drafts/awaited/{job}.json", text.encode())
    assert sent(crew.desk, images).job != job


def test_who_never_came_back_is_waited_for_no_more(crew: Crew, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = dispatched(crew, images)
    awaits(crew.desk.ctx, job)
    crew.commit(job, 0)
    late = time.time() + COUNTS_S + 1
    monkeypatch.setattr("gpupipe.jobs.awaited.time.time", lambda: late)
    assert not is_awaited(crew.desk.ctx, job)
