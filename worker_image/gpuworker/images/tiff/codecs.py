"""Blocks of a TIFF that tifffile would decode into other samples than the file means."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError

_JPEG, _LERC = 7, 34887
_RGB, _YCBCR = tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR
_BESIDE_LERC = 50674
"""LercParameters: its version, and what its blocks are compressed with besides."""
_OPENED: Mapping[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: zlib.decompress,
    2: lambda data: bytes(imagecodecs.zstd_decode(data)),
}
Decoded = tuple[NDArray[Any] | None, Any, Any]


def prepare(page: tifffile.TiffPage) -> None:
    """Make the page's decoder, before many threads ask for it, and so that it gives the samples that are meant.

    Raises ItemError `unsupported` for a compression that nobody here knows.
    """
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        name = getattr(page.compression, "name", str(page.compression))
        raise ItemError("unsupported", f"a TIFF in the compression {name}. Write it again in another, such as LZW")
    if page.compression == _JPEG:
        _prepare_jpeg(page)
    page.init_decode()
    if page.compression == _LERC:
        vars(page)["decode"] = _lerc_decoder(page)


def _prepare_jpeg(page: tifffile.TiffPage) -> None:
    """Which bands are in a JPEG is said by the TIFF; left to itself libjpeg takes any three for YCbCr."""
    bands, kind = int(page.samplesperpixel), page.photometric
    if int(page.planarconfig) == 2 and kind == _RGB:
        # Each plane is a grey JPEG, which would be taken for one in colours.
        page.photometric = tifffile.PHOTOMETRIC.MINISBLACK
    elif int(page.planarconfig) == 1 and bands == 3 and kind not in (_RGB, _YCBCR):
        extras = page.extrasamples
        page.photometric, page.extrasamples = _RGB, ()
        page.init_decode()
        page.photometric, page.extrasamples = kind, extras


def _lerc_decoder(page: tifffile.TiffPage) -> Callable[..., Decoded]:
    """LERC knows which pixels are valid; GDAL keeps NaN of floating point in that, and opacity of bytes."""
    plain: Callable[..., Decoded] = page.decode
    opened = _OPENED[int(page.tags.valueof(_BESIDE_LERC, default=(0, 0))[1])]

    def decode(data: bytes | None, index: int, **options: Any) -> Decoded:
        _, where, shape = left_out = plain(None, index, **options)
        if data is None:
            return left_out
        pixels, valid = imagecodecs.lerc_decode(opened(data), masks=True)
        return _with_mask(pixels, valid, bands=shape[3]).reshape(shape), where, shape

    return decode


def _with_mask(pixels: NDArray[Any], valid: NDArray[np.bool_] | None, *, bands: int) -> NDArray[Any]:
    """`pixels` is H×W or H×W×bands, `valid` too, or H×W for all of them; what is opaque is one more band of `bands`."""
    if pixels.dtype.kind == "f" and valid is not None:
        each = valid[:, :, None] if pixels.ndim > valid.ndim else valid
        return np.where(each, pixels, pixels.dtype.type(np.nan))
    if pixels.size // pixels.shape[0] // pixels.shape[1] == bands:
        return pixels
    seen = np.ones(pixels.shape[:2], np.bool_) if valid is None else valid
    return np.dstack([pixels, np.where(seen, np.iinfo(pixels.dtype).max, 0).astype(pixels.dtype)])
