"""Overviews: the smaller copies of its first page that a GeoTIFF often holds (GDAL's `gdaladdo`, COG)."""

from __future__ import annotations

from collections.abc import Iterator

import tifffile

from gpuworker.images.rendering import Raster, Rendering
from gpuworker.images.tiff.choice import Choice, by_sample
from gpuworker.images.tiff.codecs import prepare
from gpuworker.images.tiff.file import Tiff, unreadable_on_error

_BYTES_AT_MOST = 64 * 1024**2


def overview(tiff: Tiff, rendering: Rendering, *, max_decode_px: int) -> Raster | None:
    """The smallest whose long side is enough; None where there is none. Raises ItemError where it is damaged."""
    with unreadable_on_error():
        fitting = [page for page in _reduced(tiff) if max(page.imagewidth, page.imagelength) >= max_decode_px]
        smallest = min(fitting, key=lambda page: page.nbytes, default=None)
        if smallest is None or smallest.nbytes > _BYTES_AT_MOST:
            return None
        prepare(smallest)
        return Choice.of(smallest, rendering).raster(by_sample(smallest.asarray(maxworkers=1), smallest))


def _reduced(tiff: Tiff) -> Iterator[tifffile.TiffPage]:
    """Pages that show the same with fewer pixels, beside the first or below it."""
    first = tiff.page
    for page in [*tiff.later_pages(), *(first.pages or ())]:
        # Of channels that are pages of their own each has overviews of its own.
        is_page = not tiff.channels and isinstance(page, tifffile.TiffPage) and page.dtype == first.dtype
        if is_page and page.is_reduced and not page.is_mask and page.samplesperpixel == first.samplesperpixel:
            yield page
