"""Which of a TIFF's samples make the picture, and what they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.nodata import has_value, nodata_of
from gpuworker.images.rendering import Raster, Rendering
from gpuworker.images.tiff.colour import Colours, bands_of, colours_of

_GDAL_NODATA = 42113
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2

Samples = Mapping[int, NDArray[Any]]
"""Index of a sample of the picture, from 0 -> its H×W array."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Bands of a page, or of pages that are a band each."""

    page: tifffile.TiffPage
    colours: Colours
    colour: tuple[int, ...]
    """Which of its bands, from 0."""
    alpha: int | None
    """Which sample is marked as opacity."""
    is_premultiplied: bool
    nodata: int | float | None

    @classmethod
    def of(cls, page: tifffile.TiffPage, rendering: Rendering, *, channels: int = 0) -> Choice:
        """`channels`: how many pages are bands of the picture; 0 where the page holds all of them.

        Raises ItemError `unsuitable` for a band that there is not, `unsupported` for samples of an unknown meaning.
        """
        colours, samples = colours_of(page), channels or int(page.samplesperpixel)
        plain = max(1, samples - len(_alphas(page)))
        colour = rendering.picked(3) if colours.made_of else rendering.picked(samples, plain)
        read = colours.made_of or colour
        alpha = None
        if rendering.alpha != "ignore" and not channels:
            alpha = next((i for i in _alphas(page) if i not in read), None)
        first = samples - len(page.extrasamples)
        return cls(
            page=page,
            colours=colours,
            colour=colour,
            alpha=alpha,
            is_premultiplied=alpha is not None and int(page.extrasamples[alpha - first]) == _ASSOCIATED_ALPHA,
            nodata=nodata_of(page.tags.valueof(_GDAL_NODATA)),
        )

    @property
    def needed(self) -> tuple[int, ...]:
        """Samples that have to be read."""
        alpha = () if self.alpha is None else (self.alpha,)
        return tuple(sorted({*(self.colours.made_of or self.colour), *alpha}))

    def raster(self, samples: Samples) -> Raster:
        """The picture that these samples of the page, or of a part of it, make."""
        plain = [samples[i] for i in self.needed if i != self.alpha]
        return Raster(
            colour=tuple(bands_of(self.colours, samples, self.colour)),
            alpha=None if self.alpha is None else samples[self.alpha],
            is_premultiplied=self.is_premultiplied,
            valid=_valid(plain, self.nodata),
            nodata=self.nodata if self.colours.is_plain else None,
        )


def _alphas(page: tifffile.TiffPage) -> Sequence[int]:
    """Samples that are marked as opacity."""
    samples = int(page.samplesperpixel)
    first = samples - len(page.extrasamples)
    return [
        first + i
        for i, extra in enumerate(page.extrasamples)
        if int(extra) in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA) and 0 <= first + i < samples
    ]


def _valid(bands: Sequence[NDArray[Any]], nodata: int | float | None) -> NDArray[np.bool_] | None:
    """Where a pixel means something: in at least one band it is a number and not nodata, as GDAL's own mask has it."""
    valid: NDArray[np.bool_] | None = None
    for band in bands:
        here = has_value(band, nodata)
        if here is None:
            return None
        valid = here if valid is None else valid | here
    return None if valid is None or bool(valid.all()) else valid


def by_sample(pixels: NDArray[Any], page: tifffile.TiffPage) -> Samples:
    """One H×W array a sample, of H×W, H×W×S or S×H×W of any dtype: stored interleaved or plane by plane."""
    if pixels.ndim == 2:
        return {0: pixels}
    if pixels.ndim != 3 or page.axes not in ("YXS", "SYX"):
        raise ItemError("unsupported", f"a TIFF with axes {page.axes}; a single picture can be read")
    return dict(enumerate(pixels if page.axes == "SYX" else (pixels[:, :, i] for i in range(pixels.shape[2]))))
