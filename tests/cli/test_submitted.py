"""What `submit` tells people of what it did."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from tests.cli.conftest import Types
from tests.toy_tasks import add_toys

from gpupipe.cli.submitted import lines_of
from gpupipe.jobs.submit import SubmittedJob


def a_job(links: int) -> SubmittedJob:
    return SubmittedJob(
        job="20261121-113052-field7-1f3a",
        project="field7",
        pipeline="segment",
        task="segment",
        items=2,
        bytes=10,
        shards=1,
        skipped={"link to what is no image": links} if links else {},
        links_left_out=tuple(f"album/{number}.jpg -> /etc/{number}" for number in range(links)),
    )


def test_links_that_were_passed_over_are_named() -> None:
    assert lines_of(a_job(2))[1:] == [
        "passed over: 2 link to what is no image",
        "links passed over: album/0.jpg -> /etc/0, album/1.jpg -> /etc/1",
    ]


def test_many_are_not_all_named() -> None:
    [line] = lines_of(a_job(40))[2:]
    assert line.endswith("album/4.jpg -> /etc/4, …")


def test_where_there_are_none_nothing_is_said() -> None:
    assert len(lines_of(a_job(0))) == 1


def test_what_is_no_image_is_named() -> None:
    job = replace(
        a_job(0),
        skipped={"hidden": 2, "not an image by its name": 5},
        skipped_names={"not an image by its name": [f"album/{number}.mov" for number in range(5)]},
    )
    assert lines_of(job)[1:] == [
        "passed over: 2 hidden, 5 not an image by its name (album/0.mov, album/1.mov, album/2.mov and 2 more)"
    ]
    assert list(asdict(job)["skipped_names"]["not an image by its name"])[-1] == "album/4.mov"


def test_an_attached_job_is_told_with_its_state_and_what_to_do() -> None:
    job = replace(a_job(0), attached=True, state="held", is_held=True)
    attached, held = lines_of(job)[1:]
    assert attached.startswith(f"attached to job {job.job} of the same images, which is held: ")
    assert held == "held: no machine starts for it before `gpupipe start`"
    stalled = replace(job, state="stalled", is_held=False)
    assert (
        lines_of(stalled)[-1] == f"it is stalled: `gpupipe watch {job.job}` says why, `gpupipe start` goes on with it"
    )


def test_hold_on_a_job_that_goes_on_is_told() -> None:
    job = replace(a_job(0), attached=True, state="running")
    assert lines_of(job, hold=True)[-1].startswith(f"--hold changes nothing: job {job.job} was started without it")


def test_a_job_that_replaces_one_that_is_over_names_it() -> None:
    [line] = lines_of(replace(a_job(0), replaces="20261120-000000-field7-0001"))[1:]
    assert "`gpupipe fetch 20261120-000000-field7-0001` brings what came of it" in line


def test_results_that_were_taken_by_name_are_told() -> None:
    [line] = lines_of(replace(a_job(0), results_named=[f"out/items/{number}" for number in range(7)]))[1:]
    assert line.startswith("taken though they are results that gpupipe fetched, because they were named: out/items/0")
    assert line.endswith("out/items/4, …")


def test_values_are_counted_as_items(monkeypatch: pytest.MonkeyPatch) -> None:
    add_toys(monkeypatch)
    job = replace(a_job(0), task="upper", attached=True, state="running")
    assert lines_of(job)[0].startswith("2 items in 1 shard")
    assert "of the same items, which is running" in lines_of(job)[1]


@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_command_that_names_nothing_says_what_may_be_named(types: Types, command: str) -> None:
    done = types(command, "--project", "animals")
    assert done.code == 2
    assert "there is nothing to submit" in done.err
    assert "--value" in done.err
