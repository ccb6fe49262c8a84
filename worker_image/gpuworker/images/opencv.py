"""JPEG, PNG, WebP and BMP by OpenCV, which reduces a JPEG by its DCT while it decodes it."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.headers import Header, jpeg_header, transparent_grey
from gpuworker.images.jpeg_segments import scans_of
from gpuworker.images.rendering import Picture, Raster, Rendering, levels_of_whole, picture_of

# What is wrong with a file is said once, by ItemError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_REDUCED_FLAGS = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: 64}
"""cv2's scale bits without a colour bit, so that IMREAD_COLOR_RGB can be added."""

_MISSING, _NEARLY = 128, 2
"""What libjpeg makes of blocks that are not there, and how far the next blocks' colour is mixed into its last pixel."""
_OTHER_BYTES = hashlib.shake_128(b"gpupipe").digest(4096).replace(b"\xff", b"\xaa")
"""No entropy-coded data of any picture; with so many, what is missing is sure to become something else."""
_END = b"\xff\xd9"
_EXACT_PIXELS, _ASKED_PIXELS = 16_000_000, 400_000_000
"""Up to the one a picture without an end marker is looked at in all its pixels, up to the other at an eighth, which
does not see what its very last block lacks; both take 50 MB."""


def is_plain(header: Header) -> bool:
    """Whether cv2 makes H×W×3 bytes of it at once; all else becomes a picture by `rendering`."""
    return header.format == "jpeg" or (header.dtype == "uint8" and header.bands in (1, 3))


def whole_jpeg_header(data: bytes | mmap.mmap) -> Header:
    """What a JPEG says of itself, whose picture is there: its end marker may be missing, which libjpeg does not mind.

    Raises ItemError.
    """
    try:
        return jpeg_header(data)
    except ItemError as error:
        if error.code != "truncated":
            raise
        ended = bytes(data).rstrip(b"\xff") + _END
        header = jpeg_header(ended)
        factor = 1 if header.pixels <= _EXACT_PIXELS else 8
        if header.extra_bytes or header.pixels > _ASKED_PIXELS:
            raise
        if not _ends_by_itself(ended[: -len(_END)], header, factor):
            raise
        return header


def picture_by_cv2(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """JPEG, PNG, WebP or BMP -> H×W×3, not yet upright: the orientation is ours to apply, the same for every format."""
    pixels = decoded_by_cv2(content, header, factor)
    if pixels is None and header.format == "jpeg":
        if not scans_of(content).is_covered:
            raise _cut_inside_a_scan()
        pixels = decoded_by_cv2(bytes(content) + _END, header, factor)  # cv2 waits for it
    if pixels is None:
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged and cannot be decoded")
    if header.format == "jpeg":
        _require_whole(content, header, pixels)
    if pixels.ndim == 3 and not is_plain(header):  # else cv2 has put them in order
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    if header.format == "png" and pixels.ndim == 2:
        pixels = _with_transparency(pixels, transparent_grey(content))
    return shown(pixels, rendering, has_alpha=pixels.ndim == 3 and pixels.shape[2] in (2, 4))


def _with_transparency(grey: NDArray[Any], transparent: int | None) -> NDArray[Any]:
    """H×W×2 of a PNG that names a grey for what is not there, which cv2 asks of colours only."""
    if transparent is None:
        return grey
    return np.dstack([grey, np.where(grey == transparent, 0, np.iinfo(grey.dtype).max).astype(grey.dtype)])


def decoded_by_cv2(content: bytes | mmap.mmap, header: Header, factor: int) -> NDArray[Any] | None:
    """What cv2 makes of it: H×W×3 RGB of a plain one, else H×W or H×W×4 with blue first. Raises ItemError."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if is_plain(header) else cv2.IMREAD_UNCHANGED
    if header.format == "jpeg":
        flags |= _REDUCED_FLAGS[factor]
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged: {error.err}") from error
    return pixels


def shown(
    pixels: NDArray[Any],
    rendering: Rendering,
    *,
    has_alpha: bool,
    is_premultiplied: bool = False,
    is_opacity: bool = True,
) -> Picture:
    """H×W or H×W×bands of any dtype, red first and transparency last -> H×W×3 uint8; bytes that need nothing stay.

    `is_opacity`: whether the format has no other meaning for that band.
    """
    bands = [pixels[:, :, i] for i in range(pixels.shape[2])] if pixels.ndim == 3 else [pixels]
    if len(bands) == 3 and not rendering.bands and rendering.keeps(pixels.dtype):
        return Picture(rgb=pixels)
    picked = rendering.picked(len(bands), len(bands) - has_alpha)
    alpha = bands[-1] if has_alpha and len(bands) - 1 not in picked else None
    raster = Raster(
        colour=tuple(bands[i] for i in picked), alpha=alpha, is_premultiplied=is_premultiplied, is_opacity=is_opacity
    )
    picture = picture_of(raster, levels_of_whole(raster, rendering))
    # Only what is georeferenced is looked at by tiles, of which some may be empty.
    return replace(picture, valid_mask=None)


def _require_whole(content: bytes | mmap.mmap, header: Header, pixels: NDArray[Any]) -> None:
    """Of a progression its scans have to be there; of what libjpeg misses besides it paints all that follows grey.

    It says so on stderr only. So where the last pixel is of that grey the picture is decoded again, small, with other
    bytes after its own, which a whole one does not notice. The last scan of a progression is not asked: of one that is
    cut there and ends with a marker all the same only a little sharpness is missing. Raises ItemError `truncated`.
    """
    is_grey = header.bands not in (1, 3) or np.abs(pixels[-1, -1].astype(int) - _MISSING).max() <= _NEARLY
    if not is_grey and not header.extra_bytes:
        return
    scans = scans_of(content)
    if not scans.is_covered or (is_grey and not _ends_by_itself(content[: scans.end], header, 8)):
        raise _cut_inside_a_scan()


def _ends_by_itself(jpeg: bytes, header: Header, factor: int) -> bool:
    """Whether all blocks of a JPEG without its end marker are there, seen in a picture reduced by `factor`."""
    made = [decoded_by_cv2(jpeg + more + _END, header, factor) for more in (b"", _OTHER_BYTES)]
    return made[0] is not None and made[1] is not None and np.array_equal(made[0], made[1])


def _cut_inside_a_scan() -> ItemError:
    return ItemError("truncated", "the JPEG is cut short: a part of its picture is missing")
