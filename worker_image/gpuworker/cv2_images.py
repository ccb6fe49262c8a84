"""JPEG, PNG and WebP by OpenCV, which reduces a JPEG by its DCT while it decodes it."""

from __future__ import annotations

import mmap

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.headers import Header
from gpuworker.rendering import Raster, Rendering, rendered_alone
from gpuworker.tasks import ItemError

# What is wrong with a file is said once, by ItemError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_REDUCED_FLAGS = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: 64}
"""cv2's scale bits without a colour bit, so that IMREAD_COLOR_RGB can be added."""


def is_plain(header: Header) -> bool:
    """Whether cv2 makes H×W×3 bytes of it at once; all else becomes a picture by `rendering`."""
    return header.format == "jpeg" or (header.dtype == "uint8" and header.bands in (1, 3))


def rgb_by_cv2(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> NDArray[np.uint8]:
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
        rgb: NDArray[np.uint8] = pixels
        return rgb
    bands = [pixels[:, :, i] for i in range(pixels.shape[2])] if pixels.ndim == 3 else [pixels]
    if len(bands) >= 3 and not plain:  # else cv2 has put them in order
        bands[0], bands[2] = bands[2], bands[0]
    picked = rendering.picked(len(bands))
    alpha = bands[3] if len(bands) == 4 and 3 not in picked else None
    return rendered_alone(Raster(colour=tuple(bands[i] for i in picked), alpha=alpha), rendering)
