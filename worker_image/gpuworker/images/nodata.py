"""GDAL's nodata tag: a number as text, often with fewer digits than the samples have."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_CLOSE = 4 * float(np.finfo(np.float32).eps)
"""Relative difference up to which GDAL takes a sample for nodata, of 64-bit floats too (ARE_REAL_EQUAL)."""
_LOWEST = float(np.finfo(np.float32).max)
_NEAR_LOWEST = 0.01
"""The largest 32-bit float and its negative are written as 3.40282e+38, 3.403e+38 and 3.4e+38; no sample means that."""


def nodata_of(tag: Any) -> int | float | None:
    """The number in a nodata tag (GDAL_NODATA, 42113), exact where it is whole; None where there is none.

    NaN and infinity are none: samples that are no numbers never count.
    """
    text = tag.decode("ascii", "replace") if isinstance(tag, bytes) else str(tag)
    found = _NUMBER.match(text.strip("\0 \t\r\n").replace(",", ".", 1))
    if found is None:
        return None
    with suppress(ValueError):
        return int(found[0])
    number = float(found[0])
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def has_value(band: NDArray[Any], nodata: int | float | None) -> NDArray[np.bool_] | None:
    """H×W: where a sample of a band (H×W of any dtype) is a number, and not nodata; None where every one is, by its
    dtype."""
    if band.dtype.kind == "f":
        finite: NDArray[np.bool_] = np.isfinite(band)
        return finite if nodata is None else finite & ~_is_close(band, float(nodata))
    if band.dtype.kind not in "ui" or not isinstance(nodata, int):
        return None
    limits = np.iinfo(band.dtype)
    if not limits.min <= nodata <= limits.max:
        return None
    different: NDArray[np.bool_] = np.not_equal(band, nodata)
    return different


def _is_close(band: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    margin = abs(nodata) * (_NEAR_LOWEST if _is_lowest(nodata, band.dtype) else _CLOSE)
    with np.errstate(over="ignore"):
        low, high = (band.dtype.type(bound) for bound in (nodata - margin, nodata + margin))
    close: NDArray[np.bool_] = (band >= low) & (band <= high)
    return close


def _is_lowest(nodata: float, dtype: np.dtype[Any]) -> bool:
    """Whether it stands for the end of the range of 32-bit or 64-bit floats, in whatever words."""
    ends = (_LOWEST, float(np.finfo(np.float64).max)) if dtype.itemsize >= 4 else ()
    return any(abs(abs(nodata) / end - 1) < _NEAR_LOWEST for end in ends)
