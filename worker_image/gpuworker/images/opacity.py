"""A band marked as opacity: whether it is one, what of it is fully opaque, and what lies under it.

GDAL marks a fourth band so by default, infrared too; and writers disagree on what is opaque: 255 in 16 bits, 4095, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ALPHA_AS_BAND = "alpha_as_band"
"""The warning that a band marked as opacity does not look like it and was left out."""
_FULL = (1.0, 255.0, 4095.0, 32767.0, 65535.0)
_MASK_SHARE, _OPACITY_SHARE = 0.95, 0.5
"""Of a mask's values are nothing or full; infrared has hardly any of either. Less is asked of formats whose fourth band
is opacity by definition: a cut-out with a soft shadow passes, and infrared that was saved as PNG does not."""
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Opacity:
    """How to read an alpha band."""

    full: float
    """The value of what is opaque; 0 and below is what is not there."""
    blends: bool = True
    """Whether colours are laid over white by it; else it only says where the image has pixels."""
    is_premultiplied: bool = False
    backdrop: int = 255
    """The grey of what lies behind."""

    def visible_mask(self, alpha: NDArray[Any]) -> NDArray[np.bool_] | None:
        """H×W: where anything is to be seen by `alpha` (H×W of any dtype); None where that is so everywhere."""
        seen: NDArray[np.bool_] = alpha > 0
        return None if bool(seen.all()) else seen

    def shares(self, alpha: NDArray[Any]) -> NDArray[np.uint8]:
        """H×W opacity from 0 to 255, of `alpha` (H×W of any dtype), which is `full` where it is opaque."""
        if alpha.dtype == np.uint8 and self.full == 255:
            return alpha
        shares = np.empty(alpha.shape, np.uint8)
        for top in range(0, alpha.shape[0], _ROWS_AT_ONCE):
            rows = slice(top, top + _ROWS_AT_ONCE)
            part = np.nan_to_num(alpha[rows].astype(np.float32), posinf=self.full, neginf=0.0)
            shares[rows] = np.clip(part * np.float32(255 / self.full) + np.float32(0.5), 0, 255)
        return shares


def opacity_of(
    samples: Sequence[NDArray[Any]],
    wanted: Literal["auto", "ignore", "use"],
    *,
    is_premultiplied: bool = False,
    is_by_definition: bool = False,
) -> tuple[Opacity | None, bool]:
    """How to read the band of which these are samples, and whether it is taken for a band like others.

    `samples`: H×W parts of the band, of any dtype. `is_by_definition`: whether its format has no other meaning for it.
    None where there is none, where it is opaque all over, or where it is not to be used.
    """
    if not samples or wanted == "ignore":
        return None, False
    values = np.nan_to_num(np.concatenate([sample.ravel() for sample in samples]).astype(np.float64))
    full = _full(samples[0].dtype, float(values.max(initial=0)))
    least_share = _OPACITY_SHARE if is_by_definition else _MASK_SHARE
    if wanted == "auto" and not _is_mask(values, full, least_share):
        return None, True
    return Opacity(full=full, is_premultiplied=is_premultiplied), False


def _full(dtype: np.dtype[Any], largest: float) -> float:
    """The smallest that there can be, by the type and the largest value; of bytes always 255."""
    if dtype == np.uint8:
        return 255.0
    own = (float(np.iinfo(dtype).max),) if dtype.kind in "ui" else ()
    return min((full for full in (*_FULL, *own) if largest <= full), default=largest)


def _is_mask(values: NDArray[np.float64], full: float, least_share: float) -> bool:
    """Nearly all of it nothing or full; and not nothing everywhere, as programs leave a band that they know not of."""
    extreme = (values <= 0) | (values >= full)
    return bool(extreme.mean() >= least_share and (values > 0).any())


def laid_over(rgb: NDArray[np.uint8], shares: NDArray[np.uint8], opacity: Opacity) -> NDArray[np.uint8]:
    """Lay colours (H×W×3 uint8) over the backdrop, in place; `shares` are H×W uint8, 255 where they are opaque."""
    for top in range(0, rgb.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        share = shares[rows, :, None].astype(np.uint16)
        if int(share.min(initial=255)) == 255:
            continue
        behind = opacity.backdrop * (255 - share)
        if opacity.is_premultiplied:
            rgb[rows] = np.minimum(rgb[rows] + (behind + 127) // 255, 255)
        else:
            rgb[rows] = (rgb[rows] * share + behind + 127) // 255
    return rgb
