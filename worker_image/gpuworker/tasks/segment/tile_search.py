"""Large and dense images: an engine looks at one tile after another, and its thread does nothing else.

Tiles are read and prepared ahead, and what was found in them is finished and packed, by a few threads of the search's
own. Few tiles are ever between the steps, so that memory does not grow with the image. A tile so crowded that the model
has probably left something out is split, and its parts are looked at in its place.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from gpuworker.contract.items import ItemError
from gpuworker.engines.base import Engine
from gpuworker.engines.loaded import Loaded
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.masks.packed import packed
from gpuworker.process.thread_priority import let_model_go_first
from gpuworker.tasks.segment.selection import thin
from gpuworker.tasks.segment.tiling import SPLITS_AT_MOST, split
from gpuworker.tiles.scene import Scene, Window
from gpuworker.tiles.seams import Tile

_THREADS_AT_MOST = 8
_BYTES_PER_PIXEL = 6
"""A tile's colours, and what an engine makes of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """A tile that is ready for the model."""

    image: Image
    prepared: Any


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An image, and the windows by which it is to be looked at."""

    scene: Scene
    windows: Sequence[Window]
    first: Ready | None = None
    """The first window, where it has been read already, so that the model has something to do at once."""
    on_split: Callable[[int], None] = lambda windows: None
    """Hears how many windows a crowded one is split into."""
    on_done: Callable[[int], None] = lambda windows: None
    """Hears of windows that the model has behind it, split ones too."""
    is_wanted: Callable[[], bool] = lambda: True
    """Asked before each window; once it is not, the rest are left out, and what is returned of it is worth nothing."""


def read(scene: Scene, window: Window, engine: Engine, options: Options) -> Ready | None:
    """A tile as the model wants it; None for one in which nothing means anything. Raises ItemError."""
    image = scene.read(window)
    return None if image is None else Ready(image=image, prepared=engine.prepare(image, options))


def working_bytes(windows: Sequence[Window], engine: Engine) -> int:
    """About what the tiles take that are between the steps of a search."""
    held = min(len(windows), 2 * _between(engine) + engine.infer_threads * engine.batch_size)
    return held * max(window.height * window.width for window in windows) * _BYTES_PER_PIXEL


def search(subjects: Sequence[Subject], loaded: Loaded, options: Options) -> list[list[Tile] | ItemError]:
    """What is in the tiles of each image; an ItemError in place of an image of which a tile failed.

    Tiles of several images share batches. When this returns or raises, none of its threads is left.
    """
    threads = max(2, min(_THREADS_AT_MOST, os.cpu_count() or 1))
    with ThreadPoolExecutor(threads, thread_name_prefix="tiles", initializer=let_model_go_first) as pool:
        looking = _Search(subjects, loaded, options, pool)
        try:
            return looking.results()
        finally:
            looking.end()


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One window to look at."""

    subject: int
    window: Window
    splits: int = 0


@dataclass(kw_only=True, eq=False)
class _Outcome:
    """What has become of an image so far."""

    tiles: list[Tile] = field(default_factory=list)
    error: ItemError | None = None


class _Search:
    """What the calling thread does: hand tiles from step to step, and run an engine that has one thread only."""

    def __init__(self, subjects: Sequence[Subject], loaded: Loaded, options: Options, pool: ThreadPoolExecutor) -> None:
        self._subjects, self._loaded, self._options, self._pool = subjects, loaded, options, pool
        self._between = _between(loaded.engine)
        self._outcomes = [_Outcome() for _ in subjects]
        self._waiting = deque(
            _Task(subject=number, window=window)
            for number, subject in enumerate(subjects)
            for window in subject.windows
        )
        self._ahead: deque[tuple[_Task, Future[Ready | None]]] = deque()
        self._looking: deque[tuple[Sequence[tuple[_Task, Ready]], Future[Sequence[Any]]]] = deque()
        self._finishing: deque[tuple[_Task, Future[Tile]]] = deque()

    def results(self) -> list[list[Tile] | ItemError]:
        """Look at everything."""
        engine_threads = self._loaded.engine.infer_threads
        while self._waiting or self._ahead or self._looking:
            batch = self._next_batch() if len(self._looking) < engine_threads else []
            if batch:
                prepared = [ready.prepared for _, ready in batch]
                self._looking.append((batch, self._loaded.start(prepared, self._options)))
            elif self._looking:
                self._take_detected()
        while self._finishing:
            self._take_finished()
        return [outcome.error or outcome.tiles for outcome in self._outcomes]

    def end(self) -> None:
        """Wait for what is still under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        wait([detecting for _, detecting in self._looking])

    # --- before the model ---

    def _next_batch(self) -> list[tuple[_Task, Ready]]:
        """The next tile, and those after it that are ready by then; nothing while the model is busy and none is."""
        batch: list[tuple[_Task, Ready]] = []
        limit = self._loaded.engine.batch_size
        self._read_ahead()
        while self._ahead and len(batch) < limit and (self._is_idle(batch) or self._ahead[0][1].done()):
            task, reading = self._ahead.popleft()
            try:
                ready = reading.result()
            except ItemError as error:
                self._fail(task, error)
                ready = None
            self._read_ahead()
            if ready is not None and self._is_wanted(task):
                batch.append((task, ready))
            else:
                self._subjects[task.subject].on_done(1)
        return batch

    def _is_idle(self, batch: Sequence[Any]) -> bool:
        """Whether there is nothing else to do than to wait for the next tile."""
        return not (batch or self._looking)

    def _read_ahead(self) -> None:
        while self._waiting and len(self._ahead) < self._between:
            task = self._waiting.popleft()
            if self._is_wanted(task):
                self._ahead.append((task, self._pool.submit(self._read, task)))

    def _read(self, task: _Task) -> Ready | None:
        subject = self._subjects[task.subject]
        if subject.first is not None and task.window == subject.windows[0]:
            return subject.first
        return read(subject.scene, task.window, self._loaded.engine, self._options)

    def _is_wanted(self, task: _Task) -> bool:
        return self._outcomes[task.subject].error is None and self._subjects[task.subject].is_wanted()

    def _fail(self, task: _Task, error: ItemError) -> None:
        outcome = self._outcomes[task.subject]
        outcome.error = outcome.error or error

    # --- the model ---

    def _take_detected(self) -> None:
        batch, detecting = self._looking.popleft()
        engine = self._loaded.engine
        for (task, ready), found in zip(batch, detecting.result(), strict=True):
            self._subjects[task.subject].on_done(1)
            if isinstance(found, ItemError):
                self._fail(task, found)
            elif not engine.is_saturated(found, self._options):
                self._hand_on(task, ready, found, is_complete=True)
            elif parts := self._parts(task):
                self._subjects[task.subject].on_split(len(parts))
                self._waiting.extendleft(reversed(parts))
            else:
                self._hand_on(task, ready, found, is_complete=False)

    def _parts(self, task: _Task) -> list[_Task]:
        if task.splits >= SPLITS_AT_MOST:
            return []
        windows = split(task.window, overlap=self._options.tile_overlap)
        return [_Task(subject=task.subject, window=window, splits=task.splits + 1) for window in windows]

    # --- behind the model ---

    def _hand_on(self, task: _Task, ready: Ready, found: Any, *, is_complete: bool) -> None:
        while self._finishing and (len(self._finishing) >= self._between or self._finishing[0][1].done()):
            self._take_finished()
        self._finishing.append((task, self._pool.submit(self._finish, task.window, ready, found, is_complete)))

    def _take_finished(self) -> None:
        task, finishing = self._finishing.popleft()
        try:
            self._outcomes[task.subject].tiles.append(finishing.result())
        except ItemError as error:
            self._fail(task, error)

    def _finish(self, window: Window, ready: Ready, found: Any, is_complete: bool) -> Tile:
        engine = self._loaded.engine
        here = engine.finish(found, ready.image, self._options)
        pieces = packed([one.moved(x=window.left, y=window.top) for one in here])
        return Tile(window=window, found=thin(pieces, engine, self._options), is_complete=is_complete)


def _between(engine: Engine) -> int:
    """The most tiles that wait before the model, and the most behind it."""
    return (1 + engine.infer_threads) * engine.batch_size + 2
