"""The same content is the same job, whatever its files' times say; who claims it and is killed leaves no riddle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.jobs.crew import Crew
from tests.jobs.desk import Desk, a_photo
from tests.jobs.test_draft import at_once, dispatched, started
from tests.jobs.test_submit import sent

from gpupipe.errors import StoppedError
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.listing import undispatched
from gpupipe.jobs.submit import SubmitProgress, SubmittedJob
from gpuworker.contract import manifest_key


@pytest.fixture
def clone(images: Path, tmp_path: Path) -> Path:
    """The same files on another machine, where they have other times."""
    place = Path(shutil.copytree(images, tmp_path / "clone"))
    for number, file in enumerate(sorted(place.iterdir())):
        os.utime(file, (1_000_000 + number, 1_000_000 + number))
    return place


def claim_key(desk: Desk) -> str:
    (key,) = desk.keys("jobs/drafts/started/")
    return key


def test_other_times_of_the_same_content_are_the_same_job(desk: Desk, images: Path, clone: Path) -> None:
    first = sent(desk, images)
    same = sent(desk, clone)
    assert (same.job, same.attached, same.state, same.uploaded) == (first.job, True, "submitted", 0)
    assert started(desk) == [first.job]
    # and nothing of a second job is listed
    assert [one.job for one in undispatched(desk.ctx)] == [first.job]
    assert sent(desk, clone).job == sent(desk, images).job == first.job


def test_other_content_of_the_same_size_is_another_job(desk: Desk, images: Path, clone: Path) -> None:
    first = sent(desk, images)
    whole = (clone / "b.jpg").read_bytes()
    (clone / "b.jpg").write_bytes(whole[:-1] + b"?")
    assert sent(desk, clone).job != first.job


def test_at_once_from_machines_with_other_times_one_job_is_made(desk: Desk, images: Path, clone: Path) -> None:
    made = at_once(desk, [images, clone, images, clone])
    assert len({job.job for job in made}) == 1
    assert started(desk) == [made[0].job]
    assert sum(not job.attached for job in made) == 1


@pytest.mark.parametrize("step", ["compare", "start"])
def test_overtaken_by_the_same_with_other_times_it_gives_way(desk: Desk, images: Path, clone: Path, step: str) -> None:
    rivals: list[SubmittedJob] = []

    def rival(progress: SubmitProgress) -> None:
        if progress.step == step and not rivals:
            rivals.append(sent(desk, clone))

    job = sent(desk, images, on_progress=rival)
    assert (job.job, job.attached, rivals[0].attached) == (rivals[0].job, True, False)
    assert started(desk) == [job.job]


@pytest.mark.parametrize("shard_items", [1, 2])
def test_a_claim_whose_holder_was_killed_is_started_by_whoever_comes(
    desk: Desk, images: Path, clone: Path, shard_items: int
) -> None:
    # given a submission, cut in shards of its own size, that was killed between its claim and its manifest
    first = cut(desk, images, shard_items)
    desk.ctx.remove(manifest_key(first))
    # when another machine submits the same
    job = sent(desk, clone)
    # then that job is set going, as it was cut
    assert (job.job, job.attached, started(desk)) == (first, True, [first])
    assert desk.manifest(first).items == 3
    assert len(desk.manifest(first).shards) == job.shards == -(-3 // shard_items)
    # and its own command finds it started
    assert sent(desk, images).job == first


def test_killed_between_claim_and_start_signal_its_own_command_gives_it(desk: Desk, images: Path) -> None:
    first = sent(desk, images)
    desk.ctx.remove(manifest_key(first.job))
    again = sent(desk, images)
    assert (again.job, again.is_resumed, again.attached, started(desk)) == (first.job, True, False, [first.job])


def cut(desk: Desk, images: Path, shard_items: int) -> str:
    """A started job in shards of so many items."""

    def meddle(progress: SubmitProgress) -> None:
        if progress.step == "compare":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        sent(desk, images, on_progress=meddle)
    (marker,) = desk.keys("jobs/drafts/")
    told = {**json.loads(desk.get(marker)), "shard_items": shard_items}
    desk.put(marker, json.dumps(told).encode())
    return sent(desk, images).job


def test_a_claim_whose_job_is_over_is_replaced(crew: Crew, images: Path, clone: Path) -> None:
    job = dispatched(crew, images)
    crew.commit(job, 0)
    new = sent(crew.desk, clone)
    assert (new.job != job, new.attached) == (True, False)
    # and by the first machine it is found, though its own marker names the old one
    assert (sent(crew.desk, images).job, len(started(crew.desk))) == (new.job, 2)


def test_a_cancelled_claim_is_not_set_going(desk: Desk, images: Path, clone: Path) -> None:
    first = sent(desk, images)
    desk.ctx.remove(manifest_key(first.job))
    cancel(desk.ctx, first.job)
    new = sent(desk, clone)
    assert (new.job != first.job, new.attached, started(desk)) == (True, False, [new.job])


def test_again_makes_another_job_of_claimed_content(desk: Desk, images: Path, clone: Path) -> None:
    first = sent(desk, images)
    second = sent(desk, clone, again=True)
    assert (second.job != first.job, second.attached) == (True, False)


@pytest.mark.parametrize("damage", ["no json", "[]", "{}", "a job of nobody", "another's", "items", "infinite"])
def test_a_damaged_claim_leads_to_no_job_of_another(desk: Desk, images: Path, clone: Path, damage: str) -> None:
    # given a claim that says something else than the truth, and a job of other images in the same project
    sent(desk, images)
    a_photo(images.parent / "other/x.jpg")
    other = sent(desk, images.parent / "other").job
    before = {key: desk.get(key) for key in desk.keys(f"jobs/{other}/")}
    told = {
        "a job of nobody": {"job": "20261127-000000-field7-0001", "shard_items": 1},
        "another's": {"job": other, "shard_items": 3},
        "items": {"job": other, "shard_items": 1},
        "infinite": {"job": other, "shard_items": float("inf")},
    }
    written = json.dumps(told[damage]) if damage in told else damage
    for key in desk.keys("jobs/drafts/started/"):
        desk.put(key, written.encode())
    # when the same images come from elsewhere, then they are a job of their own
    made = sent(desk, clone)
    assert (made.attached, made.job == other) == (False, False)
    assert {key: desk.get(key) for key in desk.keys(f"jobs/{other}/")} == before


def test_a_claim_is_listed_as_no_job(desk: Desk, images: Path) -> None:
    """Markers lie where listings of jobs do not look for jobs."""
    job = sent(desk, images)
    assert claim_key(desk).startswith("jobs/drafts/")
    assert [one.job for one in undispatched(desk.ctx)] == [job.job]
