"""An engine in use: its threads, and no more of them inside its model than it allows."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gpuworker.engines.base import Engine
from gpuworker.engines.loaded import Loaded
from gpuworker.engines.options import Options


class Counting(Engine):
    """Doubles numbers, and counts who is inside."""

    batch_size = 2

    def __init__(self, threads: int) -> None:
        self.infer_threads = threads
        self.inside = self.most_inside = 0
        self.names: set[str] = set()
        self._lock = threading.Lock()
        self._full = threading.Barrier(threads)

    def load(self, device: str) -> None:
        """There is nothing to load."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": "counting", "version": "1", "notes": ""}

    def categories(self, options: Options) -> Sequence[str]:
        return ["number"]

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        with self._lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.names.add(threading.current_thread().name)
        self._full.wait(20)
        with self._lock:
            self.inside -= 1
        return [2 * number for number in prepared]


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_as_the_engine_allows_are_inside_and_no_more(threads: int) -> None:
    engine = Counting(threads)
    loaded = Loaded(engine)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda number: loaded.detect([number], Options()), range(6)))
    assert results == [[0], [2], [4], [6], [8], [10]]
    assert engine.most_inside == threads


def test_more_pictures_than_a_batch_are_split() -> None:
    assert Loaded(Counting(1)).detect([1, 2, 3, 4, 5], Options()) == [2, 4, 6, 8, 10]


def test_an_engine_of_one_thread_works_in_that_of_the_caller() -> None:
    engine = Counting(1)
    started = Loaded(engine).start([1, 2], Options())
    assert started.done()
    assert started.result() == [2, 4]
    assert engine.names == {threading.current_thread().name}


def test_an_engine_of_two_threads_has_two_at_work_at_once() -> None:
    engine = Counting(2)
    loaded = Loaded(engine)
    first, second = loaded.start([1], Options()), loaded.start([2], Options())
    assert (first.result(20), second.result(20)) == ([2], [4])
    assert threading.current_thread().name not in engine.names
