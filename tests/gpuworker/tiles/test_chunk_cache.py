import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpuworker.tiles.chunk_cache import Chunk, ChunkCache


def chunk(size_bytes: int = 30) -> Chunk:
    return Chunk(rgb=np.zeros((1, size_bytes // 3, 3), np.uint8), valid_mask=None)


def test_a_chunk_is_made_once_and_kept() -> None:
    cache, made = ChunkCache(100), chunk()
    assert cache.get("a", lambda: made) is made
    assert cache.get("a", chunk) is made
    assert (cache.made, cache.used_bytes) == (1, 30)


def test_the_least_recently_used_goes_first() -> None:
    cache = ChunkCache(100)
    for key in ("a", "b", "c", "a", "d"):
        cache.get(key, chunk)
    assert cache.used_bytes == 90
    for key in ("a", "c", "d"):
        cache.get(key, chunk)
    assert cache.made == 4
    cache.get("b", chunk)
    assert cache.made == 5


def test_one_that_is_larger_than_all_there_may_be_is_kept_alone() -> None:
    cache = ChunkCache(100)
    cache.get("a", chunk)
    cache.get("large", lambda: chunk(300))
    assert cache.used_bytes == 300
    cache.get("b", chunk)
    assert cache.used_bytes == 30


def test_masks_count() -> None:
    cache = ChunkCache(100)
    cache.get("a", lambda: Chunk(rgb=np.zeros((2, 2, 3), np.uint8), valid_mask=np.ones((2, 2), np.bool_)))
    assert cache.used_bytes == 16


def test_a_failure_is_not_kept() -> None:
    def fail() -> Chunk:
        raise ValueError("damaged")

    cache = ChunkCache(100)
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            cache.get("a", fail)
    assert cache.get("a", chunk)
    assert (cache.made, cache.used_bytes) == (1, 30)


def test_threads_that_want_the_same_wait_for_one_that_makes_it() -> None:
    cache, start, making = ChunkCache(1000), threading.Barrier(8), []

    def make() -> Chunk:
        making.append(threading.get_ident())
        return chunk()

    def get(_: int) -> list[Chunk]:
        start.wait(10)
        return [cache.get(key, make) for key in range(20)]

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(get, range(8)))
    assert len(making) == 20
    assert all(one is other for seen in got for one, other in zip(seen, got[0], strict=True))


def test_bytes_are_counted_right_when_chunks_come_and_go_in_many_threads() -> None:
    cache = ChunkCache(100)

    def get(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(0, 9, 200).tolist():
            cache.get(key, lambda: chunk(15 + 3 * key))  # noqa: B023 - called at once

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(get, range(8)))
    assert 0 < cache.used_bytes <= 100
    for key in range(20, 30):
        cache.get(key, lambda: chunk(99))
    assert cache.used_bytes == 99
