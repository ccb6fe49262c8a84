"""How large an input may be, and what is said of one that is larger; asked before a byte of its pixels is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gpuworker.contract.items import ItemError
from gpuworker.images.headers import Header
from gpuworker.process.memory import budget_bytes

WINDOWED_PIXELS = 400_000_000
"""By windows an image takes little memory, however large; beyond this its masks and the time for its tiles do not."""
CV2_PIXELS = 1 << 30
"""More pixels OpenCV refuses to decode, whatever memory there is (its CV_IO_MAX_IMAGE_PIXELS)."""
_BYTES_PER_PIXEL_AT_MOST = 8
"""Four bands of 16 bits; more bands or deeper ones lower the number of pixels that `max_pixels` lets through."""
_RAISES = "The option max_pixels raises it"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an input may be: an explicit `max_pixels` wins, else what decoding takes has to fit into memory."""

    max_bytes: int = 4 * 1024**3
    max_pixels: int | None = None
    """None where nobody has set it."""
    memory_bytes: int | None = None
    """What all images in flight may take together; None: this machine's budget."""

    @property
    def had_bytes(self) -> int:
        """Memory that there is for an image."""
        return budget_bytes() if self.memory_bytes is None else self.memory_bytes


def require_size(data: bytes | Path, limits: Limits) -> None:
    """Raises ItemError `too_large` for a file of more than `max_bytes`."""
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > limits.max_bytes:
        raise ItemError(
            "too_large",
            f"the file has {size:,} bytes; the limit is {limits.max_bytes:,}. The option max_bytes raises it",
        )


def require_windowed(header: Header, limits: Limits) -> None:
    """Of an image that is read by windows. Raises ItemError `too_large` for more than `max_pixels`."""
    _require_pixels(header, header.pixels, WINDOWED_PIXELS if limits.max_pixels is None else limits.max_pixels)


def require_decodable(
    header: Header, limits: Limits, *, needed_bytes: int, block_pixels: int = 0, is_tiled: bool = False
) -> None:
    """Of an image that is decoded whole. Raises ItemError `too_large` for one that would take too much memory.

    `block_pixels`: of a TIFF's largest strip or tile. `is_tiled`: whether it can be read in small pieces already.
    """
    if header.format != "tiff" and header.pixels > CV2_PIXELS:
        raise ItemError(
            "too_large",
            f"the image has {size_of(header)}; a {header.format.upper()} can be read up to {CV2_PIXELS / 1e6:,.0f} "
            "megapixels. Convert it to a tiled TIFF",
        )
    if limits.max_pixels is not None:
        _require_within(header, max(header.pixels, block_pixels), limits.max_pixels)
    elif needed_bytes > limits.had_bytes:
        raise ItemError("too_large", _beyond_memory(header, needed_bytes, limits.had_bytes, is_tiled=is_tiled))


def size_of(header: Header) -> str:
    """Width, height and megapixels in words."""
    return f"{header.width}×{header.height} pixels ({header.pixels / 1e6:,.0f} megapixels)"


def _require_within(header: Header, pixels: int, max_pixels: int) -> None:
    _require_pixels(header, pixels, max_pixels)
    max_decoded = max_pixels * _BYTES_PER_PIXEL_AT_MOST
    if header.decoded_bytes > max_decoded:
        raise ItemError(
            "too_large",
            f"the image has {size_of(header)} with {header.bands} bands of {header.dtype}, {header.decoded_bytes:,} "
            f"bytes in memory; the limit is {max_decoded:,} ({_BYTES_PER_PIXEL_AT_MOST} × max_pixels). {_RAISES}",
        )


def _require_pixels(header: Header, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise ItemError("too_large", f"the image has {size_of(header)}; the limit is {max_pixels:,}. {_RAISES}")


def _beyond_memory(header: Header, needed_bytes: int, had_bytes: int, *, is_tiled: bool) -> str:
    needed, had = math.ceil(needed_bytes / 1e7) / 100, math.floor(had_bytes / 1e7) / 100
    smaller = "Look at it by tiles (option tile_size) or cut it up" if is_tiled else "Convert it to a tiled TIFF"
    return (
        f"the image has {size_of(header)}; decoding it needs {needed:.2f} GB of memory, and this worker had {had:.2f} "
        f"GB for images. {smaller}, take a machine with more memory, or set the option max_pixels, which is then the "
        "limit in place of memory"
    )
