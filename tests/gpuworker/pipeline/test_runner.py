import json
from typing import Any

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.contract import ItemResult, Shard, ShardResult, output_prefix, result_key
from gpuworker.ledger import JobState, ShardState
from gpuworker.pipeline.journal import Journal, ShardId
from gpuworker.pipeline.runner import run_shard
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.storage.objects import StorageError


def outputs(result: ShardResult | None) -> list[str]:
    assert result is not None
    return [item.output for item in result.items]


def decoded(diary: Any) -> list[str]:
    """Outputs of the items that any process decoded, in order of time."""
    return [line.split()[1] for line in diary.read_text().splitlines()] if diary.exists() else []


def test_shard_becomes_one_commit_a_row_and_a_finished_job(station: Station) -> None:
    # given
    [shard] = station.job(["tree", "bad", "house"], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    # when
    result = run_shard(shard, context=station.context())
    # then the commit holds everything, in the order of the items
    assert result == station.commit(shard)
    assert outputs(result) == ["000", "002"]
    assert result is not None
    assert [(failure.output, failure.code) for failure in result.failures] == [("001", "unreadable")]
    assert result.header["categories"] == [{"id": 1, "name": "word"}]
    assert result.engine["name"] == "fake"
    assert result.machine == "i-1"
    assert set(result.timings) == {"download", "decode", "infer", "encode", "upload", "wall"}
    # and the row and the job follow from it
    row = station.row(shard)
    assert (row.state, row.done, row.failed, row.counts) == (ShardState.DONE, 2, 1, {"annotations": 2})
    job = station.ledger.job(shard.job)
    assert job is not None
    assert job.state is JobState.FINISHED


def test_artefacts_in_the_commit_are_there_at_their_versions(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    result = run_shard(shard, context=station.context())
    assert result is not None
    for name, artifact in result.items[0].artifacts.items():
        assert artifact.key == output_prefix("field7", shard.job, "000") + name
        assert station.storage.get(artifact.key, version_id=artifact.version_id).data


def test_record_is_a_document_of_the_task(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    result = run_shard(shard, context=station.context())
    assert result is not None
    document = json.loads(station.storage.get(result.items[0].artifacts["annotations.json"].key).data)
    assert list(document) == ["info", "licenses", "categories", "images", "annotations"]


def test_redelivered_shard_skips_what_is_finished(station: Station, tmp_path: Any) -> None:
    # given a shard of which the first run finished some items and was then stopped
    diary = tmp_path / "diary"
    [shard] = station.job(["tree"] * 10, send=False, diary=str(diary), halts_after=5)
    shard_run = ShardRun(shard)
    context = station.context(FakeTask(batch_size=1))
    stopper = _in_thread(lambda: until(lambda: shard_run.progress >= 5) and shard_run.cancel())
    assert run_shard(shard, context=context, shard_run=shard_run) is None
    stopper.join(10)
    finished = [outcome for outcome in shard_run._outcomes.values() if isinstance(outcome, ItemResult)]
    FakeTask.let_go.set()
    context.stream.close(10)
    diary.unlink()
    # when it is delivered again
    result = run_shard(shard, context=station.context(machine="i-2"), redelivered=True)
    # then those are taken over as they were, versions and all, and the rest is done
    assert len(outputs(result)) == 10
    assert not set(decoded(diary)) & {one.output for one in finished}
    assert result is not None
    again = {item.output: item for item in result.items}
    assert all(
        (again[one.output].artifacts, again[one.output].fragment) == (one.artifacts, one.fragment) for one in finished
    )


def _in_thread(call: Any) -> Any:
    import threading

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_new_generation_does_its_items_again(station: Station, tmp_path: Any) -> None:
    diary = tmp_path / "diary"
    [shard] = station.job(["tree"] * 3, send=False, diary=str(diary))
    run_shard(shard, context=station.context())
    [again] = station.job(["tree"] * 3, send=False, diary=str(diary), job=shard.job, generation=1)
    result = run_shard(again, context=station.context(), redelivered=True)
    assert outputs(result) == ["000", "001", "002"]
    assert len(decoded(diary)) == 6
    assert station.commit(shard) is not None, "the first generation's commit stays"


def test_commit_that_is_there_already_only_needs_its_row(station: Station, tmp_path: Any) -> None:
    # given a worker that was killed between the commit and the ledger
    diary = tmp_path / "diary"
    [shard] = station.job(["tree"], send=False, diary=str(diary))
    committed = run_shard(shard, context=station.context(machine="i-1"))
    assert committed is not None
    [fresh] = station.job(["tree"], send=False, diary=str(diary))
    moved = ShardResult.from_json(committed.to_json().replace(shard.job, fresh.job))
    station.storage.put(result_key(fresh.job, 0, 0), moved.to_gzip())
    # when the shard is delivered again
    station.ledger.start_shard(fresh.job, 0, 0, "i-2")
    result = run_shard(fresh, context=station.context(machine="i-2"), redelivered=True)
    # then nothing is done again, and the row says what the commit says
    assert result == moved
    assert len(decoded(diary)) == 1
    assert (station.row(fresh).state, station.row(fresh).machine) == (ShardState.DONE, "i-1")


def test_loser_of_a_race_throws_its_work_away(station: Station) -> None:
    # given another worker that commits the same shard while this one works on it
    [shard] = station.job(["tree"] * 5, send=False)
    winner = run_shard(shard, context=station.context(machine="i-winner"))
    # when this one comes to its commit
    result = run_shard(shard, context=station.context(machine="i-loser"))
    # then the winner's is the result, for the row too
    assert result == winner == station.commit(shard)
    assert station.row(shard).machine == "i-winner"
    assert "commit_lost" in station.lines


def test_own_commit_met_again_is_no_lost_race(station: Station) -> None:
    """A retry of the conditional write finds what its first try wrote though its answer was lost."""
    [shard] = station.job(["tree"], send=False)

    class Twice:
        """A bucket whose answers to conditional writes are lost."""

        def __getattr__(self, name: str) -> Any:
            return getattr(station.storage, name)

        def put_new(self, *arguments: Any) -> bool:
            station.storage.put_new(*arguments)
            return station.storage.put_new(*arguments)

    context = station.context()
    lossy = type(context)(**{**vars(context), "storage": Twice()})
    assert run_shard(shard, context=lossy) == station.commit(shard)
    assert "commit_lost" not in station.lines


def crashed(station: Station, shard: Shard, items: list[int]) -> None:
    """Leave the journal of a process that was killed with these items in its hands."""
    journal = Journal(station.folder / "journal")
    journal.begin(ShardId.of(shard))
    for item in items:
        journal.mark(ShardId.of(shard), item)
    journal.close()


def test_after_a_crash_here_only_what_was_in_hand_runs_alone(station: Station) -> None:
    [shard] = station.job(["tree", "crash", "tree", "tree"], send=False)
    crashed(station, shard, [1, 2])
    task = FakeTask(batch_size=1)
    result = run_shard(shard, context=station.context(task), started=2)
    assert outputs(result) == ["000", "002", "003"]
    assert result is not None
    assert [failure.code for failure in result.failures] == ["killed_worker"]
    assert sorted(task.batches) == [["000"], ["003"]]
    assert not left_behind(station)


def left_behind(station: Station) -> Any:
    """What a worker that starts now would know of an earlier one."""
    return station.journal().left_behind


def test_after_a_crash_elsewhere_everything_unfinished_runs_alone(station: Station) -> None:
    [shard] = station.job(["tree", "crash", "tree"], send=False)
    task = FakeTask()
    result = run_shard(shard, context=station.context(task), started=2)
    assert outputs(result) == ["000", "002"]
    assert task.batches == []


def test_first_start_runs_nothing_alone(station: Station) -> None:
    [shard] = station.job(["tree"] * 3, send=False)
    task = FakeTask()
    run_shard(shard, context=station.context(task), started=1, redelivered=True)
    assert sum(map(len, task.batches)) == 3


def test_cancelled_shard_commits_nothing(station: Station) -> None:
    [shard] = station.job(["tree"] * 10, send=False)
    shard_run = ShardRun(shard)
    shard_run.cancel()
    assert run_shard(shard, context=station.context(), shard_run=shard_run) is None
    assert station.commit(shard) is None
    assert not left_behind(station)


def test_shard_that_cannot_reach_its_bucket_raises_and_commits_nothing(station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    from gpuworker.storage.objects import Storage

    dead = Storage("nowhere", region="us-east-1", session=station.session, endpoint="http://127.0.0.1:9", retry_for_s=0)
    with pytest.raises(StorageError):
        run_shard(shard, context=station.context(storage=dead))
    assert station.commit(shard) is None
    assert not left_behind(station)


def test_carried_counts_are_added_by_the_ledger_once(station: Station) -> None:
    [shard] = station.job(["tree", "bad"], send=False)
    run_shard(shard, context=station.context())
    run_shard(shard, context=station.context(), redelivered=True)
    totals = station.ledger.totals(shard.job)
    assert (totals.done, totals.failed, totals.counts) == (1, 1, {"annotations": 1})
