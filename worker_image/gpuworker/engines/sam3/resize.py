"""Pixels as SAM3 takes them: resized to 1008×1008, then between -1 and 1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

SIDE_PX = 1008


def resized(rgb: NDArray[np.uint8], side: int = SIDE_PX) -> torch.Tensor:
    """3×side×side uint8 of H×W×3 `rgb`, without keeping the aspect, within one grey level of Pillow's BILINEAR.

    The model was trained on pictures made small with antialiasing; cv2.INTER_LINEAR, which has none, is 2.9 grey
    levels off on average in a photograph of 12 megapixels. Bytes stay bytes, and the longer side is made small first:
    80 MB beyond a picture of 400 megapixels, whatever its shape.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
    height, width = rgb.shape[:2]
    if height > width:  # torch begins with rows: a tall picture would become wider before it becomes small
        pixels = _interpolated(pixels, (side, width))
    return _interpolated(pixels, (side, side))[0].contiguous()


def _interpolated(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)


def normalised(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Bytes 0..255 -> -1..1, where they lie; computed in float32 and rounded once."""
    return pixels.float().div_(127.5).sub_(1).to(dtype)
