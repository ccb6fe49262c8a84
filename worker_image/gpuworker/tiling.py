"""Large and dense images: an engine looks at one tile after another, and what lies on seams comes back once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpuworker.engines import Engine
from gpuworker.masks import Instance
from gpuworker.scene import Scene, Window, grid
from gpuworker.segment_options import Options
from gpuworker.tasks import ItemError

DEFAULT_TILE_PX = 1008
"""SAM3's own input; georeferenced images are looked at in their native pixels by default."""
SATURATED = "saturated"


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found in an image, in its own pixels, and what people have to know about it."""

    instances: Sequence[Instance]
    warnings: tuple[str, ...] = ()


def tiles_of(scene: Scene, options: Options) -> tuple[Window, ...]:
    """The windows that an image is looked at by; just one for one that is looked at whole."""
    whole = (Window(top=0, left=0, height=scene.height, width=scene.width),)
    if options.tile_size == "whole" or (options.tile_size == "auto" and not scene.geo):
        return whole
    side = DEFAULT_TILE_PX if options.tile_size == "auto" else options.tile_size
    return tuple(grid(scene.height, scene.width, side=side, overlap=options.tile_overlap))


def search(scene: Scene, tiles: Sequence[Window], engine: Engine, options: Options) -> Found:
    """Look at every tile; instances in pixels of the image. Raises ItemError."""
    found = [one for batch in _batches(tiles, engine.batch_size) for one in _in(batch, scene, engine, options)]
    return Found(instances=found)


def _batches(tiles: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    return (tiles[start : start + size] for start in range(0, len(tiles), size))


def _in(batch: Sequence[Window], scene: Scene, engine: Engine, options: Options) -> Iterator[Instance]:
    read = [(window, image) for window in batch if (image := scene.read(window)) is not None]
    prepared = [engine.prepare(image, options) for _, image in read]
    for (window, image), found in zip(read, _detected(engine, prepared, options), strict=True):
        yield from (one.moved(x=window.left, y=window.top) for one in engine.finish(found, image, options))


def _detected(engine: Engine, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
    found = engine.detect(prepared, options) if prepared else []
    for one in found:
        if isinstance(one, ItemError):
            raise one
    return found
