"""Outcomes as a stream: generations merged, given-up shards accounted for, repeats settled."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.jobs.finished_work import NOW, Work

from gpupipe.errors import IntegrityError
from gpupipe.jobs import transfer
from gpupipe.jobs.mirror import Mirror
from gpupipe.jobs.results import NOT_PROCESSED, Commit, JobResults, Newest, Outcome, ShardOutcomes, open_results
from gpuworker.contract import Failure, ItemResult, result_key

JOB = "20261121-113052-field7-1f3a"


def opened(work: Work, folder: Path, job: str = JOB) -> tuple[JobResults, Mirror]:
    mirror = Mirror(transfer.open_store(work.aws, work.bucket), folder)
    record = work.ledger.job(job)
    assert record is not None
    return open_results(work.aws, work.ledger, mirror, record), mirror


def told(work: Work, folder: Path) -> dict[str, str]:
    """File name -> "done <generation>" or its failure code."""
    results, mirror = opened(work, folder)
    return {
        outcome.file_name: outcome.failure.code if outcome.failure else f"done {outcome.commit.generation}"
        for shard in results.shards(mirror)
        for outcome in shard.outcomes
    }


def test_shards_come_in_the_order_of_their_numbers_and_items_in_that_of_their_outputs(
    work: Work,
    tmp_path: Path,
) -> None:
    work.submit(JOB, ["c.jpg", "b.jpg"], ["a.jpg"])
    work.commit(JOB, 1, ["a.jpg"])
    work.commit(JOB, 0, ["c.jpg", "b.jpg"])
    assert list(told(work, tmp_path)) == ["b.jpg", "c.jpg", "a.jpg"]


def test_numbers_beyond_five_digits_stay_in_order(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    for number, name in ((100_000, "last.jpg"), (9_999, "first.jpg"), (10_001, "second.jpg")):
        work.commit(JOB, number, [name])
    assert list(told(work, tmp_path)) == ["first.jpg", "second.jpg", "last.jpg"]


def test_the_highest_generation_that_succeeded_counts_else_the_last_failure(
    work: Work,
    tmp_path: Path,
) -> None:
    work.submit(JOB, ["good.jpg", "mended.jpg", "hopeless.jpg", "broken_again.jpg"])
    work.commit(JOB, 0, ["good.jpg", "broken_again.jpg"], {"mended.jpg": "timeout", "hopeless.jpg": "timeout"})
    work.commit(JOB, 0, ["mended.jpg"], {"hopeless.jpg": "out_of_memory", "broken_again.jpg": "timeout"}, generation=1)
    work.commit(JOB, 0, ["mended.jpg"], generation=10)
    assert told(work, tmp_path) == {
        "broken_again.jpg": "done 0",
        "good.jpg": "done 0",
        "hopeless.jpg": "out_of_memory",
        "mended.jpg": "done 10",
    }


def test_items_of_a_dead_shard_are_failures(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"], ["b.jpg", "c.jpg"])
    work.commit(JOB, 0, ["a.jpg"])
    work.ledger.mark_dead(JOB, 1, 0, "its machine was lost 4 times")
    results, mirror = opened(work, tmp_path)
    dead = [outcome for shard in results.shards(mirror) for outcome in shard.outcomes if outcome.failure]
    assert [outcome.file_name for outcome in dead] == ["b.jpg", "c.jpg"]
    assert {(o.failure.code, o.failure.message) for o in dead if o.failure} == {
        (NOT_PROCESSED, "its machine was lost 4 times")
    }


def test_a_dead_retry_does_not_take_results_away(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg", "b.jpg"])
    work.commit(JOB, 0, ["a.jpg"], {"b.jpg": "timeout"})
    work.retry(JOB, 0, 1, ["b.jpg"])
    work.ledger.mark_dead(JOB, 0, 1, "given up")
    assert told(work, tmp_path) == {"a.jpg": "done 0", "b.jpg": NOT_PROCESSED}


def test_a_commit_that_came_after_the_shard_was_given_up_counts(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    work.ledger.mark_dead(JOB, 0, 0, "given up")
    work.commit(JOB, 0, ["a.jpg"])
    assert told(work, tmp_path) == {"a.jpg": "done 0"}


def test_unfinished_shards_are_passed_over_and_the_job_is_not_complete(
    work: Work,
    tmp_path: Path,
) -> None:
    work.submit(JOB, ["a.jpg"], ["b.jpg"])
    work.commit(JOB, 1, ["b.jpg"])
    results, mirror = opened(work, tmp_path)
    assert [shard.number for shard in results.shards(mirror)] == [1]
    assert not results.is_complete
    assert results.totals.outstanding == 1


def test_commits_travel_once(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    work.commit(JOB, 0, ["a.jpg"])
    told(work, tmp_path)
    work.s3.put_object(Bucket=work.bucket, Key=result_key(JOB, 0, 0), Body=b"x" * _size(tmp_path))
    assert told(work, tmp_path) == {"a.jpg": "done 0"}, "what is in the mirror is not read again"


def _size(folder: Path) -> int:
    return (folder / result_key(JOB, 0, 0)).stat().st_size


def test_a_damaged_copy_is_fetched_again(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    work.commit(JOB, 0, ["a.jpg"])
    told(work, tmp_path)
    (tmp_path / result_key(JOB, 0, 0)).write_bytes(b"\0" * _size(tmp_path))
    assert told(work, tmp_path) == {"a.jpg": "done 0"}


def test_a_commit_that_nobody_can_read_is_an_error_with_its_key(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.jpg"])
    work.put(result_key(JOB, 0, 0), b"not a commit")
    with pytest.raises(IntegrityError, match=r"results/00000\.0\.json\.gz.*not a ShardResult"):
        told(work, tmp_path)


# --- repeats over shards and jobs ---


def an_outcome(job: str, number: int, *, good: bool, etag: str = "e1", path: str = "x.jpg") -> Outcome:
    key = f"incoming/field7/{path}"
    commit = Commit(job=job, number=number, generation=0, finished_at=NOW)
    if good:
        return Outcome(commit=commit, result=ItemResult(output="x", key=key, etag=etag, artifacts={}, fragment={}))
    return Outcome(commit=commit, failure=Failure(output="x", key=key, etag=etag, code="timeout", message=""))


@pytest.mark.parametrize(
    ("older", "newer", "newer_counts"),
    [
        pytest.param({"good": True}, {"good": True}, True, id="a newer result"),
        pytest.param({"good": False}, {"good": True}, True, id="a result after a failure"),
        pytest.param({"good": False}, {"good": False}, True, id="a newer failure"),
        pytest.param({"good": True}, {"good": False}, False, id="a failure of the same input"),
        pytest.param({"good": True}, {"good": False, "etag": "e2"}, True, id="a failure of a changed input"),
    ],
)
def test_which_of_two_outcomes_counts(older: dict[str, bool], newer: dict[str, bool], newer_counts: bool) -> None:
    first, second = an_outcome("j1", 3, **older), an_outcome("j2", 0, **newer)
    newest = Newest()
    for outcome in (first, second):
        newest.add(ShardOutcomes(job=outcome.commit.job, number=outcome.commit.number, outcomes=[outcome], commits=[]))
    assert (newest.counts(first), newest.counts(second)) == (not newer_counts, newer_counts)
    assert second.supersedes(first) is newer_counts, "SQL and Python agree"
    assert newest.images == 1
    newest.close()


def test_an_image_is_the_same_wherever_it_was_uploaded_to() -> None:
    submitted = an_outcome("j1", 0, good=True)
    key = "inputs/field7/x.jpg"
    dropped = Outcome(
        commit=Commit(job="j2", number=0, generation=0),
        result=ItemResult(output="x", key=key, etag="e", artifacts={}, fragment={}),
    )
    assert submitted.file_name == dropped.file_name == "x.jpg"
