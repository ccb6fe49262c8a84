import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.contract import Failure, ItemResult, ModelSource, Shard
from gpuworker.models import FolderModels, ModelError
from gpuworker.pipeline.budget import ByteBudget
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.pipeline.stream import Stream
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Decoded


def fed(stream: Stream, shard: Shard, **options: Any) -> ShardRun:
    """A run with all of the shard's items in the stream."""
    shard_run = ShardRun(shard)
    stream.add(shard_run, range(len(shard.items)), **options)
    return shard_run


def codes(shard_run: ShardRun) -> list[str]:
    """What became of each item: "" or its failure's code."""
    assert shard_run.wait(20)
    return [outcome.code if isinstance(outcome, Failure) else "" for outcome in shard_run.outcomes()]


def messages(shard_run: ShardRun) -> list[str]:
    """What is said of each item that failed."""
    assert shard_run.wait(20)
    return [outcome.message for outcome in shard_run.outcomes() if isinstance(outcome, Failure)]


def test_items_come_out_in_order_with_artefacts_and_seconds(station: Station) -> None:
    # given and when
    [shard] = station.job([f"word{i}" for i in range(40)], send=False)
    shard_run = fed(station.stream(FakeTask(), station.journal()), shard)
    # then
    assert codes(shard_run) == [""] * 40
    for item, outcome in zip(shard.items, shard_run.outcomes(), strict=True):
        assert isinstance(outcome, ItemResult)
        assert (outcome.output, outcome.etag, outcome.counts) == (item.output, item.etag, {"annotations": 1})
        assert set(outcome.artifacts) == {"annotations.json", f"masks/{item.output}_masks.tif"}
        assert set(outcome.seconds) == {"download", "decode", "infer", "encode", "upload"}
    last = shard_run.outcomes()[39]
    assert isinstance(last, ItemResult)
    assert station.storage.get(last.artifacts["masks/039_masks.tif"].key).data == b"seen word39"


def test_every_kind_of_bad_item_fails_alone(station: Station) -> None:
    [shard] = station.job(["tree", "bad", "bug", "refuse", "bug-in-model", "tree"], send=False)
    shard_run = fed(station.stream(FakeTask(batch_size=8), station.journal()), shard)
    assert codes(shard_run) == ["", "unreadable", "internal_error", "unsupported", "internal_error", ""]
    messages = [outcome.message for outcome in shard_run.outcomes() if isinstance(outcome, Failure)]
    assert messages[1] == "ValueError: decoders have bugs"
    assert "item_failed_unexpectedly" in station.lines
    assert any("fake_task.py" in line for line in station.lines.lines), "the traceback is in the log"


def test_weights_that_a_job_needs_and_nobody_has_are_no_fault_of_its_items(station: Station) -> None:
    # given a job whose engine the worker has not loaded yet
    [shard] = station.job(["tree", "house"], send=False, weights_for_each=True)
    task = FakeTask()
    task.use_models(FolderModels(ModelSource(weights="/nowhere/weights")))
    # when
    shard_run = fed(station.stream(task, station.journal()), shard)
    # then the shard is given back, with the reason
    assert shard_run.wait(20)
    assert isinstance(shard_run.error, ModelError)
    assert "there is no folder /nowhere/weights" in str(shard_run.error)


def test_missing_and_replaced_inputs_fail(station: Station) -> None:
    [shard] = station.job(["tree", "gone"], send=False)
    gone = shard.items[1]
    station.client("s3").delete_object(Bucket=station.name, Key=gone.key, VersionId=gone.version_id)
    replaced = {**vars(shard.items[0]), "etag": "0" * 32}
    shard = Shard.from_dict({**vars(shard), "items": [replaced, vars(gone)]})
    assert codes(fed(station.stream(FakeTask(), station.journal()), shard)) == ["changed", "not_found"]


def test_batches_hold_items_of_several_shards_but_of_equal_options_only(station: Station) -> None:
    # given three small shards, two of them with equal options, and a model that is busy until all are ready
    task = FakeTask(batch_size=8)
    stream = station.stream(task, station.journal())
    blocker = fed(stream, station.job(["hang-in-model"], send=False, kind="blocker")[0])
    until(lambda: task.batches)
    shard_runs = [fed(stream, station.job(["a", "b"], send=False, kind="x")[0]) for _ in range(2)]
    until(lambda: stream.inference.ready.qsize() == 4)
    shard_runs.append(fed(stream, station.job(["a", "b"], send=False, kind="y")[0]))
    until(lambda: stream.inference.ready.qsize() == 6)
    # when
    FakeTask.let_go.set()
    for shard_run in [blocker, *shard_runs]:
        codes(shard_run)
    # then all of x share a batch, and y does not join them
    assert [len(batch) for batch in task.batches] == [1, 4, 2]


def test_batch_that_does_not_fit_is_halved(station: Station) -> None:
    task = FakeTask(batch_size=8)
    stream = station.stream(task, station.journal())
    blocker = fed(stream, station.job(["hang-in-model"], send=False)[0])
    until(lambda: task.batches)
    shard_run = fed(stream, station.job(["w"] * 8, send=False, fits=2)[0])
    until(lambda: stream.inference.ready.qsize() == 8)
    FakeTask.let_go.set()
    assert codes(shard_run) == [""] * 8
    assert codes(blocker) == [""]
    assert [len(batch) for batch in task.batches[1:4]] == [8, 4, 2]
    assert "batch_halved" in station.lines


def test_item_that_does_not_fit_alone_fails(station: Station) -> None:
    [shard] = station.job(["tree"], send=False, fits=0)
    assert codes(fed(station.stream(FakeTask(), station.journal()), shard)) == ["out_of_memory"]


def test_budget_bounds_what_is_in_flight(station: Station) -> None:
    budget = ByteBudget(1_000_000)
    [shard] = station.job(["large 200000"] * 40, send=False)
    task = FakeTask()
    task.decoded_bytes = lambda data, source, options: int(data.split()[1])  # type: ignore[attr-defined]
    assert codes(fed(station.stream(task, station.journal(), budget=budget), shard)) == [""] * 40
    assert 400_000 < budget.peak_bytes <= 1_000_000
    assert budget.used_bytes == 0


def test_item_larger_than_the_budget_is_done(station: Station) -> None:
    budget = ByteBudget(1_000)
    [shard] = station.job(["large 5000000", "tree", "large 5000000"], send=False)
    assert codes(fed(station.stream(FakeTask(), station.journal(), budget=budget), shard)) == [""] * 3
    assert budget.used_bytes == 0


def test_step_that_never_ends_fails_its_item_and_no_other(station: Station) -> None:
    [shard] = station.job(["tree", "hang", "tree"], send=False)
    stream = station.stream(FakeTask(), station.journal(), item_timeout_s=0.4)
    assert codes(fed(stream, shard)) == ["", "timeout", ""]
    assert stream.stuck == ""
    assert codes(fed(stream, station.job(["more"] * 10, send=False)[0])) == [""] * 10


@pytest.mark.parametrize("setting", ["item_timeout_s", "invocation_timeout_s"])
def test_a_step_that_never_ends_names_the_setting_that_its_time_came_from(station: Station, setting: str) -> None:
    stream = station.stream(FakeTask(), station.journal(), item_timeout_s=0.3, item_limit=setting)
    shard_run = fed(stream, station.job(["hang"], send=False)[0])
    assert shard_run.wait(20)
    assert f"; {setting} raises the limit" in messages(shard_run)[0]


def test_a_model_that_never_returns_names_it_too(station: Station) -> None:
    stream = station.stream(FakeTask(), station.journal(), item_timeout_s=0.3, item_limit="invocation_timeout_s")
    fed(stream, station.job(["hang-in-model"], send=False)[0])
    assert "did not end within 0.3 s an item; invocation_timeout_s raises the limit" in until(lambda: stream.stuck)


def test_model_that_never_returns_makes_the_process_end(station: Station) -> None:
    stream = station.stream(FakeTask(), station.journal(), item_timeout_s=0.3)
    shard_run = fed(stream, station.job(["hang-in-model"], send=False)[0])
    assert "infer of inputs/field7/000.txt" in until(lambda: stream.stuck)
    assert not shard_run.wait(0)


def test_a_lost_gpu_makes_the_process_end_and_fails_nobody(station: Station) -> None:
    # given a model that loses its GPU over one of the items
    [shard] = station.job(["tree", "lose-gpu", "house"], send=False)
    journal = station.journal()
    stream = station.stream(FakeTask(batch_size=1), journal)
    # when
    shard_run = fed(stream, shard)
    # then
    assert "CUDA error: an illegal memory access was encountered" in until(lambda: stream.stuck)
    assert not shard_run.wait(0)
    assert 1 in shard_run.unsettled()
    # and the next process knows which item to work on alone
    assert (shard_run.id, 1) in journal.items_marked()
    stream.close(5)
    assert (shard_run.id, 1) in journal.items_marked()


def test_several_hanging_steps_make_the_process_end(station: Station) -> None:
    stream = station.stream(FakeTask(), station.journal(), item_timeout_s=0.3)
    fed(stream, station.job(["hang"] * 6, send=False)[0])
    assert "decode of" in until(lambda: stream.stuck)


def test_thread_that_dies_of_a_bug_of_ours_makes_the_process_end(station: Station) -> None:
    class Broken(ShardRun):
        def settle(self, index: int, outcome: Any) -> bool:
            raise RuntimeError("nobody expects this")

    stream = station.stream(FakeTask(), station.journal())
    stream.add(Broken(station.job(["tree"], send=False)[0]), [0])
    assert "nobody expects this" in until(lambda: stream.stuck)
    assert "stream_thread_died" in station.lines


def test_unreachable_bucket_fails_the_shard_and_not_its_items(station: Station) -> None:
    [shard] = station.job(["tree"] * 3, send=False)
    dead = "http://127.0.0.1:9"
    nowhere = Storage("nowhere", region="us-east-1", session=station.session, endpoint=dead, retry_for_s=0)
    shard_run = ShardRun(shard)
    stream = station.stream(FakeTask(), station.journal(), storage=nowhere)
    stream.add(shard_run, range(3))
    until(lambda: shard_run.error, within_s=30)
    assert shard_run.progress == 0


def test_cancelled_feed_lets_go_of_everything(station: Station) -> None:
    stream = station.stream(FakeTask(), station.journal())
    shard_run = fed(stream, station.job(["tree"] * 60, send=False, sleep_s=0.05)[0])
    until(lambda: shard_run.progress > 2)
    shard_run.cancel()
    until(lambda: stream.budget.used_bytes == 0)
    assert shard_run.progress < 60
    # and the stream goes on with others
    assert codes(fed(stream, station.job(["tree"], send=False)[0])) == [""]


def test_pixels_are_let_go_of_before_the_result_is_on_its_way(station: Station) -> None:
    held: list[int] = []

    class Looking(ShardRun):
        def deliver(self, *arguments: Any, **more: Any) -> Any:
            held.append(len(self.large))
            return super().deliver(*arguments, **more)

    stream = station.stream(FakeTask(), station.journal())
    shard_run = Looking(station.job(["weight 20"], send=False)[0])
    stream.add(shard_run, [0])
    assert codes(shard_run) == [""]
    assert held == [0], "the budget gives their room to others by then"


def test_a_suspect_that_nobody_wants_any_more_is_ended_with_its_process(station: Station) -> None:
    # given a suspect that takes long, in a process of its own
    stream = station.stream(FakeTask(), station.journal())
    shard_run = fed(stream, station.job(["tree"], send=False, sleep_s=600)[0], alone=[0])
    until(lambda: "isolated_process_started" in station.lines)
    # when
    shard_run.cancel()
    # then the next one does not wait for it
    assert codes(fed(stream, station.job(["tree"], send=False)[0], alone=[0])) == [""]
    assert shard_run.progress == 0


def test_a_task_may_ask_whether_its_item_is_still_wanted(station: Station) -> None:
    asked: list[Decoded] = []

    class Asking(FakeTask):
        def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Any]:
            asked.extend(batch)
            until(lambda: not batch[0].is_wanted())
            return super().run(batch, options)

    stream = station.stream(Asking(), station.journal())
    shard_run = fed(stream, station.job(["tree"], send=False)[0])
    until(lambda: asked)
    assert asked[0].is_wanted()
    shard_run.cancel()
    until(lambda: stream.budget.used_bytes == 0)
    assert shard_run.progress == 0


def test_closing_in_the_middle_ends_every_thread(station: Station) -> None:
    before = set(threading.enumerate())
    stream = station.stream(FakeTask(), station.journal())
    fed(stream, station.job(["tree"] * 100, send=False, sleep_s=0.02)[0])
    until(lambda: stream.inference.idle_s > 0)
    assert stream.close(10)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("stream")}


def test_closing_says_when_a_step_hangs(station: Station) -> None:
    task = FakeTask()
    stream = station.stream(task, station.journal())
    fed(stream, station.job(["hang-in-model"], send=False)[0])
    until(lambda: task.batches)
    assert stream.close(0.2) is False


def test_suspects_run_in_a_process_of_their_own(station: Station) -> None:
    [shard] = station.job(["tree", "crash", "tree", "bad"], send=False)
    task = FakeTask()
    shard_run = fed(station.stream(task, station.journal()), shard, alone={1, 2, 3})
    assert codes(shard_run) == ["", "killed_worker", "", "unreadable"]
    assert task.batches == [["000"]], "this process's model saw only the one that is no suspect"


def test_journal_holds_what_is_in_work_and_nothing_else(station: Station) -> None:
    # given one item inside the model and others ready behind it
    task, journal = FakeTask(batch_size=1), station.journal()
    stream = station.stream(task, journal)
    shard_run = fed(stream, station.job(["hang-in-model"] * 6, send=False)[0])
    until(lambda: task.batches and stream.inference.ready.qsize() == 5)
    [[hanging]] = task.batches
    # when the process is killed now, then only that one is a suspect
    assert journal.items_marked() == {(shard_run.id, int(hanging))}
    FakeTask.let_go.set()
    codes(shard_run)
    assert journal.items_marked() == set()


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_threads_as_the_task_allows_run_its_model(station: Station, threads: int) -> None:
    task = FakeTask(infer_threads=threads, batch_size=1)
    stream = station.stream(task, station.journal())
    shard_run = fed(stream, station.job(["hang-in-model"] * 5, send=False)[0])
    until(lambda: len(task.batches) == threads)
    FakeTask.let_go.set()
    assert codes(shard_run) == [""] * 5
