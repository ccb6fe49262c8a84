from gpuworker.contract import Failure, Item, Shard
from gpuworker.contract.items import Source
from gpuworker.pipeline.shard_run import InFlightItem, ShardRun
from gpuworker.tasks.base import Decoded


def shard_run(items: int = 3, **options: object) -> ShardRun:
    rows = [Item(key=f"inputs/p/{i}.jpg", etag="e", size=1, output=str(i)) for i in range(items)]
    return ShardRun(Shard(job="j", pipeline="p", project="p", number=0, task="t", options=options, items=rows))


def failure(output: str) -> Failure:
    return Failure(output=output, key="k", etag="e", code="unreadable", message="")


def test_it_is_over_when_every_item_has_its_outcome() -> None:
    one = shard_run()
    for index in (2, 0):
        assert one.settle(index, failure(str(index)))
    assert not one.wait(0)
    assert (one.progress, one.unsettled()) == (2, [1])
    one.settle(1, failure("1"))
    assert one.wait(0)
    assert [outcome.output for outcome in one.outcomes()] == ["0", "1", "2"], "in the shard's order"


def test_first_outcome_counts() -> None:
    one = shard_run()
    assert one.settle(0, failure("first"))
    assert not one.settle(0, failure("second"))
    for index in (1, 2):
        one.settle(index, failure(""))
    assert one.outcomes()[0].output == "first"


def test_cancelled_or_failed_feed_is_over_and_unwanted() -> None:
    cancelled, failed = shard_run(), shard_run()
    cancelled.cancel()
    failed.fail(OSError("first"))
    failed.fail(OSError("second"))
    assert cancelled.wait(0)
    assert failed.wait(0)
    assert not cancelled.is_wanted
    assert not failed.is_wanted
    assert str(failed.error) == "first"


def test_items_await_the_model_until_they_reach_it_or_end_before() -> None:
    one = shard_run()
    one.at_infer(0)
    one.settle(0, failure(""))
    one.settle(1, failure(""))
    assert one.awaiting_infer == 1


def test_equal_options_share_batches_whatever_their_order() -> None:
    assert shard_run(a=1, b=[2]).batch_key == shard_run(b=[2], a=1).batch_key
    assert shard_run(a=1).batch_key != shard_run(a=2).batch_key


def test_whoever_waits_without_a_thread_is_told() -> None:
    told: list[str] = []
    shard = shard_run(items=1).shard
    done = ShardRun(shard, on_over=lambda: told.append("done"))
    done.settle(0, failure("0"))
    cancelled = ShardRun(shard, on_over=lambda: told.append("cancelled"))
    cancelled.cancel()
    failed = ShardRun(shard, on_over=lambda: told.append("failed"))
    failed.fail(OSError())
    assert told == ["done", "cancelled", "failed"]


def test_what_an_earlier_run_left_is_not_finished_here() -> None:
    one = shard_run()
    one.settle(0, failure("0"))
    one.taken_over = one.progress
    one.settle(1, failure("1"))
    assert (one.progress, one.finished_here) == (2, 1)


def test_parts_of_large_items_are_counted_while_they_are_in_the_stream() -> None:
    one, done = shard_run(), [0]
    source = Source(output="0", file_name="0.tif")
    one.large[0] = Decoded(source=source, payload="", cost_bytes=1, weight=20, weight_done=lambda: done[0])
    done[0] = 7
    assert one.parts == (7, 20)
    InFlightItem(shard_run=one, index=0, item=one.shard.items[0]).release()
    assert one.parts == (0, 0)
