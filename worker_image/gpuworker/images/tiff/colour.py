"""What a TIFF's samples mean (PhotometricInterpretation) -> bands that can be shown; what is not known is refused.

TIFF 6.0 (sections 3 to 6, 16, 20 to 23) and Adobe's Photoshop notes for ICCLab. A sample is converted at the depth it
was stored with: four bits are a sixteenth, not a two hundred and fifty-sixth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError

Band = NDArray[Any]
Convert = Callable[[Sequence[Band]], Sequence[Band]]

_PHOTOMETRIC, _INK_SET, _COEFFICIENTS, _BLACK_WHITE = 262, 332, 529, 532
_CMYK_INKS = 1
_DECODED_AS_RGB = (6, 7, 34892, 50001)
"""Compressions (JPEG, WebP) whose decoder makes RGB of YCbCr itself."""
_APERIO_YCC = 33003
"""JPEG 2000 of slide scanners: YCbCr whatever else is said of it, as OpenSlide has it; RGB is 33005."""
_LOSSLESS = (1, 5, 8, 32773, 32946, 34925, 50000, 34926)
_ROWS_AT_ONCE = 256
_BT601 = (0.299, 0.587, 0.114)
_FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
_D50 = (0.96422, 1.0, 0.82521)
_XYZ_D50_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
"""Lindbloom, "RGB/XYZ Matrices": linear sRGB of XYZ under D50, adapted by Bradford."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Colours:
    """How to read a page's samples."""

    convert: Convert
    """Samples -> bands, alike in number where each band is a sample of its own, or red, green and blue."""
    made_of: tuple[int, ...] = ()
    """Samples of which red, green and blue are made; () where each band is a sample of its own."""
    bytes_per_pixel: int = 0
    """What converting takes besides the samples and what is made of them."""
    is_plain: bool = False
    """Whether a band's values are those of the file, which nodata speaks of."""


def colours_of(page: tifffile.TiffPage) -> Colours:
    """Raises ItemError `unsupported` for a photometric interpretation that is not known, which nobody should guess."""
    if _PHOTOMETRIC not in page.tags:
        return _PLAIN  # as GDAL has it
    is_slide = page.compression == _APERIO_YCC and page.photometric == tifffile.PHOTOMETRIC.RGB
    make = _ycbcr if is_slide else _KINDS.get(int(page.photometric))
    if make is None:
        raise _unsupported(page, "that is no picture in colours or grey")
    return make(page)


def _unsupported(page: tifffile.TiffPage, why: str) -> ItemError:
    kind = getattr(page.photometric, "name", str(page.photometric))
    return ItemError("unsupported", f"a TIFF of the kind {kind} ({why}). Convert it to RGB first")


def _grey(page: tifffile.TiffPage, *, white_is_zero: bool) -> Colours:
    bits = _bits(page)
    if page.dtype is not None and page.dtype.kind == "f" and white_is_zero:
        return Colours(convert=lambda bands: [np.nanmax(band, initial=0) - band for band in bands], bytes_per_pixel=4)
    if not white_is_zero and not 1 < bits < 8:
        return _PLAIN
    return Colours(convert=lambda bands: [_to_bytes(_turned(band, bits, white_is_zero), bits) for band in bands])


def _turned(band: Band, bits: int, white_is_zero: bool) -> Band:
    if not white_is_zero:
        return band
    if band.dtype.kind != "u":
        return ~band
    turned: Band = band.dtype.type((1 << bits) - 1) - band
    return turned


def _to_bytes(band: Band, bits: int) -> Band:
    """Samples of fewer than eight bits at the full range of a byte; all others as they are."""
    if band.dtype != np.uint8 or not 1 < bits < 8:
        return band
    most = (1 << bits) - 1
    table = np.minimum(np.round(np.arange(256) * (255 / most)), 255).astype(np.uint8)
    scaled: Band = table[band]
    return scaled


def _bits(page: tifffile.TiffPage) -> int:
    """Of a sample as it was stored; the array may have more."""
    assert page.dtype is not None
    stored = page.bitspersample
    return int(stored) if isinstance(stored, int) else 8 * page.dtype.itemsize


def _palette(page: tifffile.TiffPage) -> Colours:
    if page.colormap is None:
        raise _unsupported(page, "it has no colour map")
    # Some programs write bytes where TIFF has 16 bits; libtiff tells them in the same way.
    palette = page.colormap if int(page.colormap.max(initial=0)) < 256 else page.colormap >> 8
    return Colours(convert=partial(_by_palette, palette.astype(np.uint8)), made_of=(0,))


def _by_palette(palette: NDArray[np.uint8], bands: Sequence[Band]) -> Sequence[Band]:
    index = np.minimum(bands[0], palette.shape[1] - 1).astype(np.uint16, copy=False)
    return [colour[index] for colour in palette]


def _cmyk(page: tifffile.TiffPage) -> Colours:
    if int(page.samplesperpixel) < 4 or int(page.tags.valueof(_INK_SET, default=_CMYK_INKS)) != _CMYK_INKS:
        raise _unsupported(page, "its inks are not cyan, magenta, yellow and black")
    if page.dtype is None or page.dtype.kind != "u":
        raise _unsupported(page, f"with samples of the type {page.dtype}")
    most = float((1 << _bits(page)) - 1)
    size = int(page.dtype.itemsize)
    return Colours(convert=partial(_rgb_of_cmyk, most), made_of=(0, 1, 2, 3), bytes_per_pixel=12 + 3 * size)


def _rgb_of_cmyk(most: float, bands: Sequence[Band]) -> Sequence[Band]:
    """The plain conversion without an ink profile: red = white × (1 - cyan) × (1 - black)."""
    light = 1 - bands[3].astype(np.float32) / most
    return [((1 - ink.astype(np.float32) / most) * light * most).astype(ink.dtype) for ink in bands[:3]]


def _ycbcr(page: tifffile.TiffPage) -> Colours:
    if int(page.compression) in _DECODED_AS_RGB and int(page.planarconfig) == 1:
        return _PLAIN
    compressions = (*_LOSSLESS, _APERIO_YCC)
    if int(page.compression) not in compressions or page.dtype != np.uint8 or int(page.samplesperpixel) < 3:
        raise _unsupported(page, "in a compression or depth that is not known with it")
    if page.compression != _APERIO_YCC and tuple(page.subsampling or (1, 1)) != (1, 1):
        raise _unsupported(page, "with fewer samples of colour than of brightness, and no JPEG")
    weights = _numbers(page, _COEFFICIENTS, 3) or _BT601
    black_white = _numbers(page, _BLACK_WHITE, 6) or _FULL_RANGE
    return Colours(convert=partial(_rgb_of_ycbcr, weights, black_white), made_of=(0, 1, 2), bytes_per_pixel=3)


def _numbers(page: tifffile.TiffPage, tag: int, count: int) -> tuple[float, ...]:
    """A tag of `count` numbers, which may be fractions; () where it is missing or makes no sense."""
    value = page.tags.valueof(tag, default=())
    flat = [float(number) for number in np.asarray(value, np.float64).ravel()]
    if len(flat) == 2 * count:
        flat = [a / b if b else 0.0 for a, b in zip(flat[::2], flat[1::2], strict=True)]
    return tuple(flat) if len(flat) == count and any(flat) else ()


def _rgb_of_ycbcr(weights: Sequence[float], black_white: Sequence[float], bands: Sequence[Band]) -> Sequence[Band]:
    red_weight, green_weight, blue_weight = weights
    levels = [np.asarray(black_white[i : i + 2]) for i in (0, 2, 4)]

    def convert(rows: Sequence[Band]) -> Sequence[Band]:
        y = _between(rows[0], levels[0]) * 255
        blueness, redness = (_between(rows[i], levels[i]) * 127 for i in (1, 2))
        red, blue = y + redness * (2 - 2 * red_weight), y + blueness * (2 - 2 * blue_weight)
        return [red, (y - red_weight * red - blue_weight * blue) / green_weight, blue]

    return _by_rows(bands[:3], convert)


def _between(band: Band, black_white: Band) -> NDArray[np.float32]:
    """0 at black, 1 at white."""
    span = float(black_white[1] - black_white[0]) or 1.0
    scaled: NDArray[np.float32] = (band.astype(np.float32) - np.float32(black_white[0])) / np.float32(span)
    return scaled


def _lab(page: tifffile.TiffPage, *, is_signed: bool) -> Colours:
    if page.dtype is None or page.dtype.itemsize > 2 or page.dtype.kind not in "ui" or _bits(page) not in (8, 16):
        raise _unsupported(page, f"with samples of the type {page.dtype}")
    # Of JPEG it is nowhere said whether a* and b* are signed in it.
    if int(page.compression) not in _LOSSLESS or int(page.samplesperpixel) < 3:
        raise _unsupported(page, "in a compression or with samples that are not known with it")
    return Colours(convert=partial(_rgb_of_lab, is_signed), made_of=(0, 1, 2), bytes_per_pixel=3)


def _rgb_of_lab(is_signed: bool, bands: Sequence[Band]) -> Sequence[Band]:
    """CIE L*a*b* under D50 -> sRGB as bytes."""
    bits = 8 * bands[0].dtype.itemsize
    light_most = (1 << bits) - 1 if is_signed or bits == 8 else 0xFF00

    def convert(rows: Sequence[Band]) -> Sequence[Band]:
        stored = [row.astype(f"u{row.dtype.itemsize}", copy=False) for row in rows]
        light = stored[0].astype(np.float32) * np.float32(100 / light_most)
        a, b = (_opponent(one, is_signed) for one in stored[1:])
        return _srgb(_xyz(light, a, b))

    return _by_rows(bands[:3], convert)


def _opponent(stored: Band, is_signed: bool) -> NDArray[np.float32]:
    """a* or b*: signed in TIFF's own CIELab, with 128 as its middle in ICC's; 16 bits have 8 after the point."""
    unit = np.float32(1 << 8 * (stored.dtype.itemsize - 1))
    if is_signed:
        signed: NDArray[np.float32] = stored.view(f"i{stored.dtype.itemsize}").astype(np.float32) / unit
        return signed
    around: NDArray[np.float32] = stored.astype(np.float32) / unit - np.float32(128)
    return around


def _xyz(light: Band, a: Band, b: Band) -> Sequence[NDArray[np.float32]]:
    """CIE 15:2004, 8.2.1.1, inverted."""
    middle = (light + 16) / 116
    parts = (middle + a / 500, middle, middle - b / 200)
    near_black = 6 / 29
    return [
        np.where(part > near_black, part**3, 3 * near_black**2 * (part - 4 / 29)) * np.float32(white)
        for part, white in zip(parts, _D50, strict=True)
    ]


def _srgb(xyz: Sequence[NDArray[np.float32]]) -> Sequence[NDArray[np.float32]]:
    """IEC 61966-2-1; 0..255."""
    linear = (sum(weight * part for weight, part in zip(row, xyz, strict=True)) for row in _XYZ_D50_TO_SRGB)
    clipped = (np.clip(one, 0, 1) for one in linear)
    return [255 * np.where(one <= 0.0031308, 12.92 * one, 1.055 * one ** (1 / 2.4) - 0.055) for one in clipped]


def _by_rows(bands: Sequence[Band], convert: Convert) -> Sequence[Band]:
    """Convert a few rows at a time, in floating point, into bytes."""
    made = [np.empty(bands[0].shape, np.uint8) for _ in range(3)]
    for top in range(0, bands[0].shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        for out, values in zip(made, convert([band[rows] for band in bands]), strict=True):
            out[rows] = np.clip(np.round(values), 0, 255)
    return made


def bands_of(colours: Colours, samples: Mapping[int, Band], wanted: Sequence[int]) -> Iterator[Band]:
    """The bands that a person wants, of samples by their index."""
    if not colours.made_of:
        yield from colours.convert([samples[i] for i in wanted])
        return
    made = colours.convert([samples[i] for i in colours.made_of])
    yield from (made[i] for i in wanted)


_PLAIN = Colours(convert=lambda bands: bands, is_plain=True)
_KINDS: Mapping[int, Callable[[tifffile.TiffPage], Colours]] = {
    int(tifffile.PHOTOMETRIC.MINISWHITE): partial(_grey, white_is_zero=True),
    int(tifffile.PHOTOMETRIC.MINISBLACK): partial(_grey, white_is_zero=False),
    int(tifffile.PHOTOMETRIC.RGB): partial(_grey, white_is_zero=False),
    int(tifffile.PHOTOMETRIC.PALETTE): _palette,
    int(tifffile.PHOTOMETRIC.MASK): partial(_grey, white_is_zero=False),
    int(tifffile.PHOTOMETRIC.SEPARATED): _cmyk,
    int(tifffile.PHOTOMETRIC.YCBCR): _ycbcr,
    int(tifffile.PHOTOMETRIC.CIELAB): partial(_lab, is_signed=True),
    int(tifffile.PHOTOMETRIC.ICCLAB): partial(_lab, is_signed=False),
}
"""A photometric interpretation that is missing here is refused."""
