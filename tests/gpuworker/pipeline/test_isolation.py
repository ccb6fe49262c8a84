import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.station import Lines, until

from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError, Source
from gpuworker.models import ModelError
from gpuworker.pipeline.isolation import ChildSettings, Isolator, IsolatorError
from gpuworker.process.log import Log

SOURCE = Source(output="a", file_name="a.txt")


class Bench:
    """Makes isolators and ends them."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.made: list[Isolator] = []

    def isolator(
        self,
        *,
        item_timeout_s: float = 20.0,
        longest_item_s: float = math.inf,
        item_limit: str = "item_timeout_s",
        memory_limit_bytes: int = 1 << 30,
        weights: str = "",
        fetch: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> Isolator:
        settings = ChildSettings(
            task="tests.gpuworker.fake_task:FakeTask",
            device="cpu",
            options=options,
            memory_limit_bytes=memory_limit_bytes,
            item_timeout_s=item_timeout_s,
            longest_item_s=longest_item_s,
            item_limit=item_limit,
            model=ModelSource(weights=weights),
        )
        self.made.append(Isolator(settings, Log([self.lines]), fetch=fetch))
        return self.made[-1]

    @property
    def children(self) -> int:
        return sum('"event":"isolated_process_started"' in line for line in self.lines.lines)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for isolator in bench.made:
        isolator.close()


def code_of(isolator: Isolator, text: str, **options: Any) -> str:
    with pytest.raises(ItemError) as caught:
        isolator.run(text.encode(), SOURCE, options)
    return caught.value.code


def test_items_come_out_as_they_would_from_this_process(bench: Bench) -> None:
    isolator = bench.isolator()
    encoded = isolator.run(b"tree", SOURCE, {})
    assert encoded.files["masks/a_masks.tif"].data == b"seen tree"
    assert encoded.counts == {"annotations": 1}
    assert code_of(isolator, "bad") == "unreadable"
    assert code_of(isolator, "refuse") == "unsupported"
    assert code_of(isolator, "bug") == "internal_error"
    assert isolator.run(b"tree", SOURCE, {}).counts == {"annotations": 1}
    assert bench.children == 1, "one child for all of them"


def test_item_that_kills_its_process_is_the_only_one_lost(bench: Bench) -> None:
    isolator = bench.isolator()
    assert isolator.run(b"before", SOURCE, {})
    assert code_of(isolator, "crash") == "killed_worker"
    assert isolator.run(b"after", SOURCE, {})
    assert bench.children == 2


def test_the_item_after_one_that_lost_the_gpu_gets_a_new_process(bench: Bench) -> None:
    isolator = bench.isolator()
    assert code_of(isolator, "lose-gpu") == "killed_worker"
    assert isolator.run(b"after", SOURCE, {})
    assert bench.children == 2


def test_item_that_never_ends_is_ended(bench: Bench) -> None:
    isolator = bench.isolator(item_timeout_s=0.3)
    isolator.run(b"first", SOURCE, {})
    assert code_of(isolator, "hang") == "timeout"


def test_the_limit_of_time_grows_with_what_an_item_is_worth(bench: Bench) -> None:
    isolator = bench.isolator(item_timeout_s=0.6)
    isolator.run(b"first", SOURCE, {})
    assert code_of(isolator, "tree", sleep_s=1.2) == "timeout"
    isolator.run(b"first", SOURCE, {})
    assert isolator.run(b"weight 20", SOURCE, {"sleep_s": 1.2}).counts == {"annotations": 1}
    assert isolator.run(b"becomes 20", SOURCE, {"sleep_s": 1.2}).counts == {"annotations": 1}


def test_however_much_an_item_is_worth_it_ends_before_a_caller_gives_up(bench: Bench) -> None:
    isolator = bench.isolator(item_timeout_s=0.6, longest_item_s=0.9)
    isolator.run(b"first", SOURCE, {})
    assert code_of(isolator, "weight 1000", sleep_s=60) == "timeout"


@pytest.mark.parametrize("setting", ["item_timeout_s", "invocation_timeout_s"])
def test_an_item_that_is_ended_names_the_setting_that_its_time_came_from(bench: Bench, setting: str) -> None:
    isolator = bench.isolator(item_timeout_s=0.3, item_limit=setting)
    with pytest.raises(ItemError, match=rf"took longer than 0\.3 s; {setting} raises the limit"):
        isolator.run(b"hang", SOURCE, {})


def test_a_large_item_is_ended_by_what_its_invocation_leaves() -> None:
    child = ChildSettings(
        task="", device="cpu", options={}, memory_limit_bytes=0, item_timeout_s=100.0, longest_item_s=540.0
    )
    assert child.limit(2) == (200.0, "item_timeout_s")
    assert child.limit(6) == (540.0, "invocation_timeout_s")


def test_item_that_takes_too_much_memory_is_ended(bench: Bench) -> None:
    isolator = bench.isolator(memory_limit_bytes=400_000_000)
    assert code_of(isolator, "hog") == "out_of_memory"
    assert isolator.run(b"after", SOURCE, {})


def test_model_that_cannot_be_loaded_is_no_fault_of_the_item(bench: Bench) -> None:
    with pytest.raises(IsolatorError, match="there is no such model"):
        bench.isolator(cannot_load=True).run(b"tree", SOURCE, {})


def test_closing_ends_the_child_in_the_middle_of_an_item(bench: Bench) -> None:
    # given an item that hangs in the child
    isolator = bench.isolator()
    isolator.run(b"first", SOURCE, {})
    caught: list[BaseException] = []

    def run() -> None:
        try:
            isolator.run(b"hang", SOURCE, {})
        except IsolatorError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(isolator._lock.locked)
    # when
    isolator.close()
    thread.join(10)
    # then
    assert caught
    with pytest.raises(IsolatorError):
        isolator.run(b"tree", SOURCE, {})


def test_closing_without_a_child_does_nothing(bench: Bench) -> None:
    bench.isolator().close()
    assert bench.children == 0


def test_weights_that_a_job_needs_first_here_are_fetched_by_the_worker(bench: Bench, tmp_path: Path) -> None:
    """A machine that takes over what another was lost with has not loaded that job's engine itself."""
    weights = tmp_path / "weights"
    isolator = bench.isolator(weights=str(weights), fetch=weights.mkdir)
    assert isolator.run(b"tree", SOURCE, {"weights_for_each": True}).counts == {"annotations": 1}
    assert weights.is_dir()
    assert bench.children == 1


def test_weights_that_cannot_be_had_are_no_fault_of_an_item(bench: Bench, tmp_path: Path) -> None:
    def refused() -> None:
        raise ModelError("the hub could not be reached", is_final=False)

    for fetch, why in ((refused, "the hub could not be reached"), (lambda: None, "there is no folder")):
        isolator = bench.isolator(weights=str(tmp_path / "nowhere"), fetch=fetch)
        with pytest.raises(IsolatorError, match=why):
            isolator.run(b"tree", SOURCE, {"weights_for_each": True})
