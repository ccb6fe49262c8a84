"""The search of tiles: the model's thread runs the model alone, little waits, crowded tiles split, failures stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tests.colour_engine import Cramped
from tests.gpuworker.station import until

from gpuworker.contract.items import ItemError
from gpuworker.engines.base import Engine
from gpuworker.engines.loaded import Loaded
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.images.tiff.file import GeoTag
from gpuworker.masks.instances import Instance
from gpuworker.tasks.segment.tile_search import Subject, read, search
from gpuworker.tasks.segment.tiling import SPLITS_AT_MOST
from gpuworker.tiles.scene import WholeScene, Window
from gpuworker.tiles.seams import Tile


class Pages:
    """A scene whose windows are all alike; `reading` is called for each."""

    geo: tuple[GeoTag, ...] = ()
    cost_bytes = 0

    def __init__(self, reading: Callable[[Window], Any] = lambda _: None, *, side: int = 1024) -> None:
        self.height = self.width = side
        self._reading = reading

    def whole(self) -> Image:
        raise ItemError("too_large", "only by windows")

    def read(self, window: Window) -> Image | None:
        if self._reading(window) == "nothing":
            return None
        rgb = np.zeros((4, 4, 3), np.uint8)
        return Image(rgb=rgb, height=window.height, width=window.width, bands=3, dtype="uint8")

    def preview(self) -> Image:
        raise NotImplementedError


class Watched(Engine):
    """Finds one instance in each tile, and notes who did what."""

    batch_size = 4
    suppresses_overlaps = True

    def __init__(self) -> None:
        self.threads: dict[str, set[str]] = {"prepare": set(), "detect": set(), "finish": set()}
        self.batches: list[int] = []
        self.prepared = self.finished = self.most_waiting = 0
        self._lock = threading.Lock()

    def load(self, device: str) -> None:
        """There is nothing to load."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": "watched", "version": "1", "notes": ""}

    def categories(self, options: Options) -> Sequence[str]:
        return ["thing"]

    def prepare(self, image: Image, options: Options) -> Any:
        self.threads["prepare"].add(threading.current_thread().name)
        with self._lock:
            self.prepared += 1
            self.most_waiting = max(self.most_waiting, self.prepared - sum(self.batches))
        return image

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        self.threads["detect"].add(threading.current_thread().name)
        self.batches.append(len(prepared))
        return ["found"] * len(prepared)

    def finish(self, found: Any, image: Image, options: Options) -> list[Instance]:
        self.threads["finish"].add(threading.current_thread().name)
        mask = np.ones((2, 3), np.bool_)
        return [Instance(x=1, y=2, mask=mask, score=0.9, category_id=1, source="watched")]


def windows(count: int) -> list[Window]:
    return [Window(top=0, left=10 * i, height=10, width=10) for i in range(count)]


def one_search(engine: Engine, scene: Pages, count: int, **options: Any) -> list[Tile]:
    (result,) = search([Subject(scene=scene, windows=windows(count))], Loaded(engine), Options(**options))
    assert not isinstance(result, ItemError), result
    return result


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tiles")]


def failing(code: str) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise ItemError(code, "as told")

    return fail


class TestSearch:
    def test_every_tile_is_looked_at_and_instances_lie_in_the_image(self) -> None:
        tiles = one_search(Watched(), Pages(), 9)
        assert sorted(tile.window for tile in tiles) == windows(9)
        assert sorted(one.box for tile in tiles for one in tile.found) == [
            (10 * i + 1, 2, 10 * i + 4, 4) for i in range(9)
        ]
        assert all(tile.is_complete for tile in tiles)

    def test_the_models_thread_runs_the_model_alone(self) -> None:
        engine = Watched()
        one_search(engine, Pages(), 20)
        here = threading.current_thread().name
        assert engine.threads["detect"] == {here}
        assert here not in engine.threads["prepare"] | engine.threads["finish"]
        assert threads_left() == []

    def test_few_tiles_wait_however_large_the_image(self) -> None:
        engine = Watched()
        one_search(engine, Pages(), 300)
        assert engine.prepared == sum(engine.batches) == 300
        # What is read ahead, and the batch that is being made of it.
        assert engine.most_waiting <= 2 * engine.batch_size + 2 + engine.batch_size
        assert max(engine.batches) <= engine.batch_size

    def test_tiles_are_read_while_the_model_is_busy(self) -> None:
        class Busy(Watched):
            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                found = super().detect(prepared, options)
                until(lambda: self.prepared == min(30, sum(self.batches) + 2 * self.batch_size + 2))
                return found

        one_search(Busy(), Pages(), 30)

    def test_as_many_threads_as_the_engine_allows_are_in_the_model(self) -> None:
        class Threaded(Watched, own={"inside", "most_inside"}):
            batch_size = 1
            infer_threads = 3
            inside = most_inside = 0

            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                with self._lock:
                    self.inside += 1
                    self.most_inside = max(self.most_inside, self.inside)
                until(lambda: self.most_inside >= 3)
                with self._lock:
                    self.inside -= 1
                return super().detect(prepared, options)

        engine = Threaded()
        tiles = one_search(engine, Pages(), 40)
        assert sorted(tile.window for tile in tiles) == windows(40)
        assert engine.most_inside == 3
        assert threads_left() == []

    def test_tiles_of_several_images_share_batches(self) -> None:
        class Patient(Watched):
            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                until(lambda: self.prepared == 6)
                return super().detect(prepared, options)

        engine = Patient()
        subjects = [Subject(scene=Pages(), windows=windows(2)) for _ in range(3)]
        results = search(subjects, Loaded(engine), Options())
        assert [len(tiles) for tiles in results if isinstance(tiles, list)] == [2, 2, 2]
        assert len(engine.batches) < 6

    def test_a_tile_that_was_read_before_is_not_read_again(self) -> None:
        read_windows: list[Window] = []
        engine, scene = Watched(), Pages(read_windows.append)
        first = read(Pages(), windows(3)[0], engine, Options())
        (tiles,) = search([Subject(scene=scene, windows=windows(3), first=first)], Loaded(engine), Options())
        assert isinstance(tiles, list)
        assert sorted(tile.window for tile in tiles) == windows(3)
        assert sorted(read_windows) == windows(3)[1:]

    def test_tiles_of_nothing_are_not_looked_at(self) -> None:
        engine = Watched()
        tiles = one_search(engine, Pages(lambda window: "nothing" if window.left % 20 else None), 8)
        assert sorted(tile.window.left for tile in tiles) == [0, 20, 40, 60]
        assert sum(engine.batches) == 4

    def test_an_image_of_nothing_at_all(self) -> None:
        assert one_search(Watched(), Pages(lambda _: "nothing"), 40) == []


class TestGate:
    def test_two_searches_take_turns_at_the_model(self) -> None:
        class Single(Watched, own={"inside", "most_inside"}):
            inside = most_inside = 0

            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                self.inside += 1
                self.most_inside = max(self.most_inside, self.inside)
                time.sleep(0.001)
                self.inside -= 1
                return super().detect(prepared, options)

        engine = Single()
        loaded = Loaded(engine)

        def look(_: int) -> int:
            (tiles,) = search([Subject(scene=Pages(), windows=windows(40))], loaded, Options())
            return len(tiles) if isinstance(tiles, list) else 0

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(look, range(3))) == [40, 40, 40]
        assert engine.most_inside == 1


class TestFailures:
    @pytest.mark.parametrize("step", ["prepare", "finish"])
    def test_a_step_that_fails_is_the_images_failure(self, step: str) -> None:
        engine = Watched()
        setattr(engine, step, failing("unreadable"))
        (result,) = search([Subject(scene=Pages(), windows=windows(50))], Loaded(engine), Options())
        assert isinstance(result, ItemError)
        assert result.code == "unreadable"
        assert threads_left() == []

    def test_its_neighbour_is_found_all_the_same(self) -> None:
        subjects = [
            Subject(scene=Pages(failing("truncated")), windows=windows(5)),
            Subject(scene=Pages(), windows=windows(5)),
        ]
        broken, fine = search(subjects, Loaded(Watched()), Options())
        assert isinstance(broken, ItemError)
        assert broken.code == "truncated"
        assert isinstance(fine, list)
        assert len(fine) == 5

    def test_what_the_model_refuses_is_the_images_failure(self) -> None:
        class Refusing(Watched):
            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                return [ItemError("unsupported", "not that") for _ in prepared]

        engine = Refusing()
        (result,) = search([Subject(scene=Pages(), windows=windows(100))], Loaded(engine), Options())
        assert isinstance(result, ItemError)
        assert result.code == "unsupported"

    @pytest.mark.parametrize("engine_threads", [1, 2])
    @pytest.mark.parametrize("step", ["prepare", "detect", "finish"])
    def test_a_bug_comes_out_and_no_thread_stays(self, step: str, engine_threads: int) -> None:
        def broken(*_: Any) -> Any:
            raise ZeroDivisionError(step)

        engine = Watched()
        engine.infer_threads = engine_threads
        setattr(engine, step, broken)
        with pytest.raises(ZeroDivisionError, match=step):
            search([Subject(scene=Pages(), windows=windows(50))], Loaded(engine), Options())
        assert threads_left() == []

    @pytest.mark.parametrize("engine_threads", [1, 2])
    def test_an_image_that_nobody_wants_any_more_is_left(self, engine_threads: int) -> None:
        # given two images, of which one is cancelled while the model is at it
        engine, seen = Watched(), list[Window]()
        engine.infer_threads = engine_threads
        given_up = Subject(scene=Pages(seen.append), windows=windows(500), is_wanted=lambda: len(seen) < 20)
        # when
        _, other = search([given_up, Subject(scene=Pages(), windows=windows(30))], Loaded(engine), Options())
        # then its rest is not looked at, and the other image is
        assert len(seen) < 60
        assert isinstance(other, list)
        assert sorted(tile.window for tile in other) == windows(30)
        assert threads_left() == []

    def test_a_failed_image_is_not_read_to_its_end(self) -> None:
        read: list[Window] = []

        def reading(window: Window) -> None:
            read.append(window)
            raise ItemError("unreadable", "as told")

        subject = Subject(scene=Pages(reading), windows=windows(500))
        (result,) = search([subject], Loaded(Watched()), Options())
        assert isinstance(result, ItemError)
        assert len(read) <= 20


class TestShortMemory:
    def test_batches_are_halved_where_they_do_not_fit(self) -> None:
        class Small(Watched):
            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                until(lambda: self.prepared >= 8)
                if len(prepared) > 1:
                    raise MemoryError("no room for two")
                return super().detect(prepared, options)

        engine = Small()
        tiles = one_search(engine, Pages(), 12)
        assert len(tiles) == 12
        assert set(engine.batches) == {1}

    def test_one_tile_that_does_not_fit_fails_the_image(self) -> None:
        class Full(Watched):
            def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
                raise MemoryError("no room for one")

        (result,) = search([Subject(scene=Pages(), windows=windows(3))], Loaded(Full()), Options())
        assert isinstance(result, ItemError)
        assert result.code == "out_of_memory"


class Counting(Watched):
    """Says that a tile is saturated while it is larger than a side."""

    def __init__(self, fits_px: int) -> None:
        super().__init__()
        self._fits_px = fits_px

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[Any]:
        super().detect(prepared, options)
        return prepared

    def is_saturated(self, found: Image, options: Options) -> bool:
        return max(found.height, found.width) > self._fits_px


class TestCrowded:
    def whole(self, side: int) -> Subject:
        return Subject(scene=Pages(side=side), windows=[Window(top=0, left=0, height=side, width=side)])

    def test_a_saturated_tile_is_replaced_by_its_parts(self) -> None:
        (tiles,) = search([self.whole(1000)], Loaded(Counting(600)), Options())
        assert isinstance(tiles, list)
        assert len(tiles) == 4
        assert all(tile.is_complete for tile in tiles)
        assert {(tile.window.height, tile.window.width) for tile in tiles} == {(534, 534)}

    def test_only_the_crowded_part_is_split_again(self) -> None:
        rgb = np.zeros((1000, 1000, 3), np.uint8)
        rgb[10:100:20, 10:100:20] = rgb[900, 900] = (200, 0, 0)
        scene = WholeScene(image=Image(rgb=rgb, height=1000, width=1000, bands=3, dtype="uint8"))
        subject = Subject(scene=scene, windows=self.whole(1000).windows)
        (tiles,) = search([subject], Loaded(Cramped()), Options())
        assert isinstance(tiles, list)
        # The corner is still too crowded at the smallest size.
        assert sorted({tile.window.height for tile in tiles}) == [152, 285, 534]
        assert [tile.window for tile in tiles if not tile.is_complete] == [Window(top=0, left=0, height=152, width=152)]

    def test_what_stays_saturated_is_kept_and_told(self) -> None:
        (tiles,) = search([self.whole(1000)], Loaded(Counting(10)), Options())
        assert isinstance(tiles, list)
        assert not any(tile.is_complete for tile in tiles)
        assert min(tile.window.height for tile in tiles) >= 128
        assert len(tiles) == 4**3

    def test_a_huge_image_is_not_split_for_ever(self) -> None:
        (tiles,) = search([self.whole(100_000)], Loaded(Counting(10)), Options())
        assert isinstance(tiles, list)
        assert len(tiles) == 4**SPLITS_AT_MOST
