"""Large and dense images: an engine looks at one tile after another, and its thread does nothing else.

Tiles are read and prepared ahead, and what was found in them is finished and packed, by a few threads of the search's
own. Few tiles are ever between the steps, so that memory does not grow with the image. A tile so crowded that the model
has probably left something out is split, and its parts are looked at in its place.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from gpuworker.engines.loaded import Loaded
from gpuworker.images import Image
from gpuworker.memory import free_cached, is_out_of_memory
from gpuworker.packed import packed
from gpuworker.scene import Scene, Window
from gpuworker.seams import Tile
from gpuworker.segment_options import Options
from gpuworker.selection import thinned
from gpuworker.tasks import ItemError
from gpuworker.tiling import SPLITS_AT_MOST, split
from gpuworker.turns import let_model_go_first

_THREADS_AT_MOST = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An image, and the windows by which it is to be looked at."""

    scene: Scene
    windows: Sequence[Window]
    splits: int = 0
    """How often these windows have been split from larger ones already."""


def search(subjects: Sequence[Subject], loaded: Loaded, options: Options) -> list[list[Tile] | ItemError]:
    """What is in the tiles of each image; an ItemError in place of an image of which a tile failed.

    Tiles of several images share batches. When this returns or raises, none of its threads is left.
    """
    engine_threads = loaded.engine.infer_threads
    with ThreadPoolExecutor(
        max(2, min(_THREADS_AT_MOST, (os.cpu_count() or 1) // engine_threads)),
        thread_name_prefix="tiles",
        initializer=let_model_go_first if engine_threads == 1 else None,
    ) as pool:
        looking = _Search(subjects, loaded, options, pool)
        try:
            return looking.results()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One window to look at."""

    subject: int
    window: Window
    splits: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ready:
    """A tile that is ready for the model."""

    task: _Task
    image: Image
    prepared: Any


@dataclass(kw_only=True, eq=False)
class _Outcome:
    """What has become of an image so far."""

    tiles: list[Tile] = field(default_factory=list)
    error: ItemError | None = None


class _Search:
    """The model's side of it; all but `_read` and `_finished` runs in the calling thread."""

    def __init__(self, subjects: Sequence[Subject], loaded: Loaded, options: Options, pool: ThreadPoolExecutor) -> None:
        self._subjects, self._loaded, self._options, self._pool = subjects, loaded, options, pool
        self._batch_limit = loaded.engine.batch_size
        self._between = 2 * loaded.engine.batch_size + 2
        """The most tiles that wait before the model, and the most behind it."""
        self._outcomes = [_Outcome() for _ in subjects]
        self._waiting = deque(
            _Task(subject=number, window=window, splits=subject.splits)
            for number, subject in enumerate(subjects)
            for window in subject.windows
        )
        self._ahead: deque[tuple[_Task, Future[_Ready | None]]] = deque()
        self._behind: deque[tuple[_Task, Future[Tile]]] = deque()

    def results(self) -> list[list[Tile] | ItemError]:
        """Look at everything."""
        while self._waiting or self._ahead:
            if batch := self._next_batch():
                self._look_at(batch)
        while self._behind:
            self._take_finished()
        return [outcome.error or outcome.tiles for outcome in self._outcomes]

    # --- before the model ---

    def _next_batch(self) -> list[_Ready]:
        """The next tile, and those after it that are ready by then."""
        batch: list[_Ready] = []
        self._read_ahead()
        while self._ahead and len(batch) < self._batch_limit and (not batch or self._ahead[0][1].done()):
            task, reading = self._ahead.popleft()
            try:
                ready = reading.result()
            except ItemError as error:
                self._fail(task, error)
                ready = None
            self._read_ahead()
            if ready is not None and self._is_wanted(task):
                batch.append(ready)
        return batch

    def _read_ahead(self) -> None:
        while self._waiting and len(self._ahead) < self._between:
            task = self._waiting.popleft()
            if self._is_wanted(task):
                self._ahead.append((task, self._pool.submit(self._read, task)))

    def _read(self, task: _Task) -> _Ready | None:
        """None for a tile in which nothing means anything."""
        image = self._subjects[task.subject].scene.read(task.window)
        if image is None:
            return None
        return _Ready(task=task, image=image, prepared=self._loaded.engine.prepare(image, self._options))

    def _is_wanted(self, task: _Task) -> bool:
        return self._outcomes[task.subject].error is None

    def _fail(self, task: _Task, error: ItemError) -> None:
        outcome = self._outcomes[task.subject]
        outcome.error = outcome.error or error

    # --- the model ---

    def _look_at(self, batch: Sequence[_Ready]) -> None:
        for ready, found in zip(batch, self._detected(batch), strict=True):
            if isinstance(found, ItemError):
                self._fail(ready.task, found)
            elif not self._loaded.engine.is_saturated(found, self._options):
                self._hand_on(ready, found, is_complete=True)
            elif parts := self._parts(ready.task):
                self._waiting.extendleft(reversed(parts))
            else:
                self._hand_on(ready, found, is_complete=False)

    def _detected(self, batch: Sequence[_Ready]) -> Sequence[Any]:
        """What was found in each tile; where the memory is short, by ever smaller batches from now on."""
        try:
            return self._loaded.detect([ready.prepared for ready in batch], self._options)
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        # Not inside `except`, whose traceback would hold the memory.
        free_cached()
        half = self._batch_limit = len(batch) // 2
        return [*self._detected(batch[:half]), *self._detected(batch[half:])]

    def _parts(self, task: _Task) -> list[_Task]:
        if task.splits >= SPLITS_AT_MOST:
            return []
        windows = split(task.window, overlap=self._options.tile_overlap)
        return [_Task(subject=task.subject, window=window, splits=task.splits + 1) for window in windows]

    # --- behind the model ---

    def _hand_on(self, ready: _Ready, found: Any, *, is_complete: bool) -> None:
        while self._behind and (len(self._behind) >= self._between or self._behind[0][1].done()):
            self._take_finished()
        self._behind.append((ready.task, self._pool.submit(self._finished, ready, found, is_complete)))

    def _take_finished(self) -> None:
        task, finishing = self._behind.popleft()
        try:
            self._outcomes[task.subject].tiles.append(finishing.result())
        except ItemError as error:
            self._fail(task, error)

    def _finished(self, ready: _Ready, found: Any, is_complete: bool) -> Tile:
        engine, window = self._loaded.engine, ready.task.window
        here = engine.finish(found, ready.image, self._options)
        pieces = packed([one.moved(x=window.left, y=window.top) for one in here])
        return Tile(window=window, found=thinned(pieces, engine, self._options), is_complete=is_complete)
