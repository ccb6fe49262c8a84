"""JPEG, PNG and WebP by OpenCV, which reduces a JPEG by its DCT while it decodes it."""

from __future__ import annotations

import mmap
from dataclasses import replace

import cv2
import numpy as np

from gpuworker.headers import Header
from gpuworker.rendering import Picture, Raster, Rendering, levels_of_whole, picture_of
from gpuworker.tasks import ItemError

# What is wrong with a file is said once, by ItemError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_REDUCED_FLAGS = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: 64}
"""cv2's scale bits without a colour bit, so that IMREAD_COLOR_RGB can be added."""


def is_plain(header: Header) -> bool:
    """Whether cv2 makes H×W×3 bytes of it at once; all else becomes a picture by `rendering`."""
    return header.format == "jpeg" or (header.dtype == "uint8" and header.bands in (1, 3))


def picture_by_cv2(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """JPEG, PNG or WebP -> H×W×3, not yet upright: the orientation is ours to apply, the same for every format."""
    plain = is_plain(header)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if plain else cv2.IMREAD_UNCHANGED
    if header.format == "jpeg":
        flags |= _REDUCED_FLAGS[factor]
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged: {error.err}") from error
    if pixels is None:
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged and cannot be decoded")
    if plain and not rendering.bands and rendering.keeps(pixels.dtype):
        return Picture(rgb=pixels)
    bands = [pixels[:, :, i] for i in range(pixels.shape[2])] if pixels.ndim == 3 else [pixels]
    if len(bands) >= 3 and not plain:  # else cv2 has put them in order
        bands[0], bands[2] = bands[2], bands[0]
    colours = len(bands) - 1 if len(bands) == 4 else len(bands)
    picked = rendering.picked(len(bands), colours)
    alpha = bands[3] if len(bands) == 4 and 3 not in picked else None
    raster = Raster(colour=tuple(bands[i] for i in picked), alpha=alpha)
    picture = picture_of(raster, levels_of_whole(raster, rendering))
    # Only what is georeferenced is looked at by tiles, of which some may be empty.
    return replace(picture, meaning=None)
