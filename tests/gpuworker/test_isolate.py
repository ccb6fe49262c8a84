import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.gpuworker.station import Lines, until

from gpuworker.isolate import ChildSettings, Isolator, IsolatorError
from gpuworker.log import Log
from gpuworker.tasks import ItemError, Source

SOURCE = Source(output="a", file_name="a.txt")


class Bench:
    """Makes isolators and ends them."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.made: list[Isolator] = []

    def isolator(self, *, item_timeout_s: float = 20.0, memory_limit_bytes: int = 1 << 30, **options: Any) -> Isolator:
        settings = ChildSettings(
            task="tests.gpuworker.fake_task:FakeTask",
            device="cpu",
            options=options,
            memory_limit_bytes=memory_limit_bytes,
            item_timeout_s=item_timeout_s,
        )
        self.made.append(Isolator(settings, Log([self.lines])))
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


def test_item_that_never_ends_is_ended(bench: Bench) -> None:
    isolator = bench.isolator(item_timeout_s=0.3)
    isolator.run(b"first", SOURCE, {})
    assert code_of(isolator, "hang") == "timeout"


def test_the_limit_of_time_grows_with_what_an_item_is_worth(bench: Bench) -> None:
    isolator = bench.isolator(item_timeout_s=0.6)
    isolator.run(b"first", SOURCE, {})
    assert code_of(isolator, "tree", sleep_s=1.2) == "timeout"
    isolator.run(b"first", SOURCE, {})
    assert isolator.run(b"worth 20", SOURCE, {"sleep_s": 1.2}).counts == {"annotations": 1}


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
