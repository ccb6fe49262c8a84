"""What an input of `segment` is opened as: whole in memory, or a file of which windows are read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.geo.world_files import tags_with
from gpuworker.images.decoding import (
    AT_ONCE_BYTES_AT_MOST,
    BoxPrompt,
    Opened,
    bytes_at_once,
    bytes_to_decode,
    decode_opened,
)
from gpuworker.images.limits import require_size, require_windowed
from gpuworker.images.rendering import Rendering
from gpuworker.images.tiff.blocks import BLOCK_BYTES_AT_MOST, Blocks
from gpuworker.images.tiff.file import Tiff
from gpuworker.tasks.segment.tiling import DEFAULT_TILE_PX, side_of
from gpuworker.tiles.scene import Scene, WholeScene
from gpuworker.tiles.windowed import WindowedScene, cache_bytes, opening_bytes

WINDOWS_FROM_BYTES = AT_ONCE_BYTES_AT_MOST
"""An image whose samples take more is read by windows, if it is looked at by tiles."""
WHOLE_BYTES_AT_MOST = 1024**3
"""Up to here a file in large compressed blocks, such as a single strip, is decoded whole; beyond it is refused."""


def open_scene(
    data: bytes | Path,
    options: Options,
    *,
    name: str,
    max_decode_px: int | None = None,
    boxes: tuple[BoxPrompt, ...] = (),
    world: Mapping[str, Any] = MappingProxyType({}),
    memory_bytes: int | None = None,
    windows_from_bytes: int = WINDOWS_FROM_BYTES,
) -> Scene:
    """Open an image file, of which `data` is the content or the path; a path may be removed as soon as this returns.

    `name` is how a person calls the file, for what is said of it. `max_decode_px` as `decoding.decode` has it; a
    picture that is looked at by tiles is always had in all its pixels. `world`: where it lies, as `contract.world` has
    it. `memory_bytes`: what images may take; None: this machine's budget. Raises ItemError.
    """
    limits = options.limits(memory_bytes)
    require_size(data, limits)
    opened = _open(data, world, options)
    tiled = _is_tiled(opened, options)
    blocks = _blocks(opened, options, windows_from_bytes) if tiled else None
    if blocks is None or opened.tiff is None:
        max_decode_px = None if tiled else max_decode_px
        image, valid_mask = decode_opened(opened, limits, max_decode_px=max_decode_px, rendering=rendering_of(options))
        return WholeScene(image=replace(image, boxes=boxes), valid_mask=valid_mask)
    require_windowed(opened.header, limits)
    _require_small(blocks, name)
    try:
        return WindowedScene(opened.tiff, rendering_of(options), side=_side(options), boxes=boxes)
    except MemoryError as error:
        raise ItemError("out_of_memory", f"no memory for a block of {blocks.width}×{blocks.height} pixels") from error


def bytes_to_open(
    data: bytes | Path,
    options: Options,
    *,
    max_decode_px: int | None = None,
    world: Mapping[str, Any] = MappingProxyType({}),
    memory_bytes: int | None = None,
    windows_from_bytes: int = WINDOWS_FROM_BYTES,
    result_bytes_per_pixel: int = 0,
) -> int:
    """The most memory that `open_scene` takes and the scene and its results will hold, by the header; 0 for a file it
    will refuse."""
    limits = options.limits(memory_bytes)
    try:
        require_size(data, limits)
        opened = _open(data, world, options)
        tiled = _is_tiled(opened, options)
        blocks = _blocks(opened, options, windows_from_bytes) if tiled else None
        if blocks is None or opened.tiff is None:
            max_decode_px = None if tiled else max_decode_px
            decoding = bytes_to_decode(opened, limits, max_decode_px=max_decode_px, rendering=rendering_of(options))
            return decoding + result_bytes_per_pixel * opened.header.pixels
        require_windowed(opened.header, limits)
        _require_small(blocks, "")
    except ItemError:
        return 0
    opening = opening_bytes(opened.tiff, blocks, cache_bytes(opened.tiff, blocks, _side(options)))
    return opening + result_bytes_per_pixel * opened.header.pixels


def _open(data: bytes | Path, world: Mapping[str, Any], options: Options) -> Opened:
    """Raises ItemError."""
    opened = Opened.of(data, rendering_of(options))
    tags = tags_with(world, opened.geo) if world else opened.geo
    return opened if tags == opened.geo else opened.placed(tags)


def rendering_of(options: Options) -> Rendering:
    """How samples become bytes, as the person wants it."""
    return Rendering(
        bands=options.bands,
        stretch=options.stretch,
        percent=options.stretch_percent,
        alpha=options.alpha,
        page="first" if options.pages == "all" else options.pages,
    )


def _is_tiled(opened: Opened, options: Options) -> bool:
    """Whether the image will be looked at by tiles (`tiling.tiles_of`)."""
    side = side_of(options, is_geo=bool(opened.geo))
    return side is not None and max(opened.header.width, opened.header.height) > side


def _side(options: Options) -> int:
    """Of an image that is looked at by tiles."""
    return side_of(options, is_geo=True) or DEFAULT_TILE_PX


def _blocks(opened: Opened, options: Options, windows_from_bytes: int) -> Blocks | None:
    """The blocks of a file that is read by windows; None for one that is decoded whole."""
    tiff: Tiff | None = opened.tiff
    if tiff is None or bytes_at_once(opened.header) <= windows_from_bytes:
        return None
    blocks = Blocks(tiff, rendering_of(options))
    fits_whole = not blocks.are_small and bytes_at_once(opened.header) <= WHOLE_BYTES_AT_MOST
    return blocks if blocks.are_alike and not fits_whole else None


def _require_small(blocks: Blocks, name: str) -> None:
    if blocks.are_small:
        return
    path = PurePosixPath(name or "image.tif")
    tiled = path.with_name(f"{path.stem}_tiled.tif")
    raise ItemError(
        "too_large",
        f"the TIFF is compressed in blocks of {blocks.width}×{blocks.height} pixels, which can only be decoded in one "
        f"piece of {blocks.decoded_bytes:,} bytes; the limit is {BLOCK_BYTES_AT_MOST:,}. Re-tile it: gdal_translate "
        f"-co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER {shlex.quote(str(path))} {shlex.quote(str(tiled))}",
    )
