"""Which page of a TIFF is the picture, which pages are its bands, and which hold other pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import tifffile

from gpuworker.contract.items import ItemError
from gpuworker.images.rendering import Page
from gpuworker.images.tiff.stacks import DESCRIPTION_AT_MOST, page_at, page_count, pages_in

_LOOKED_AT = 256
"""Of more pages the first so many are told apart; those that follow count as pictures."""
_DNG_VERSION = 50706
_RAW_KINDS = (32803, 34892)
"""Colour filter array, and linear raw: what a camera's sensor saw, to be developed."""
_PREVIEW_KINDS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_ALIKE = 0.02
_CHANNELS = (
    (re.compile(r'SizeC="(\d+)"'), re.compile(r'Size[ZT]="(?!1")\d+"')),  # OME-XML
    (re.compile(r"^channels=(\d+)", re.M), re.compile(r"^(?:slices|frames)=(?!1$)\d+", re.M)),  # ImageJ
)
"""How a file says that its pages are channels of one picture, and that they are not only that."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pages:
    """What of a file is looked at."""

    page: tifffile.TiffPage
    number: int
    """Of that page, from 1; 0 for one below another."""
    channels: Sequence[tifffile.TiffPage] = ()
    """Pages of which each is a band of the picture; () where the one page holds all of it."""
    left: Sequence[int] = field(default_factory=tuple)
    """Numbers of the pages with other pictures."""
    is_preview: bool = False
    """Whether it is what a camera made for its display, beside raw pixels."""


def pages_of(file: tifffile.TiffFile, wanted: Page = "first", bands: Sequence[int] = ()) -> Pages:
    """Choose. `bands`: those that a person asks for, from 1.

    Raises ItemError `unsuitable` for a page that is not there, `unsupported` for raw pixels without a preview.
    """
    every = _numbered(file)
    if wanted == "first":
        found = _first(file, every)
    elif page := every.get(wanted) or (page_at(file, wanted) if wanted > _LOOKED_AT else None):
        found = Pages(page=page, number=wanted)
    else:
        there_are = "1 page" if page_count(file) == 1 else f"{page_count(file)} pages"
        raise ItemError("unsuitable", f"the option pages asks for page {wanted}; the TIFF has {there_are} of pixels")
    if found.number and wanted == "first" and (channels := _channels(file, every, found, bands)):
        numbers = {number for number, page in every.items() if page in channels}
        left = [number for number in found.left if number not in numbers]
        return Pages(page=found.page, number=found.number, channels=channels, left=left)
    return found


def pictures_in(file: tifffile.TiffFile) -> Sequence[int]:
    """The numbers of all pages with a picture, none of overviews, thumbnails and masks."""
    every = _numbered(file)
    return [number for number, page in every.items() if _is_picture(page)] or list(every)[:1]


def _numbered(file: tifffile.TiffFile) -> dict[int, tifffile.TiffPage]:
    """Pages with pixels by their number."""
    found = dict(enumerate(islice(pages_in(file), _LOOKED_AT), 1))
    sized = {number: page for number, page in found.items() if page.imagewidth > 0 and page.imagelength > 0}
    if not sized:
        raise ItemError("unreadable", "the TIFF has no page with pixels")
    return sized


def _is_picture(page: tifffile.TiffPage) -> bool:
    return page.dtype is not None and not page.is_reduced and not page.is_mask


def _first(file: tifffile.TiffFile, every: dict[int, tifffile.TiffPage]) -> Pages:
    first = min(every)
    if _is_raw(every[first]):
        return _preview([*every.values()])
    pictures = [number for number, page in every.items() if _is_picture(page)] or [
        number for number, page in every.items() if not page.is_mask
    ]
    number = pictures[0] if pictures else first
    if not _is_picture(every[first]) or _is_thumbnail(every[number], [every[i] for i in pictures]):
        number = max(pictures or [first], key=lambda i: (_size(every[i]), -i))
    return Pages(page=every[number], number=number, left=_others(file, every, number))


def _size(page: tifffile.TiffPage) -> int:
    return int(page.imagewidth) * int(page.imagelength)


def _is_thumbnail(page: tifffile.TiffPage, pictures: Sequence[tifffile.TiffPage]) -> bool:
    """Whether another page has its shape at twice its size or more, which not every program marks."""
    return any(
        other.imagewidth >= 2 * page.imagewidth
        and abs(other.imagewidth * page.imagelength / (other.imagelength * page.imagewidth) - 1) <= _ALIKE
        for other in pictures
    )


def _others(file: tifffile.TiffFile, every: dict[int, tifffile.TiffPage], number: int) -> Sequence[int]:
    looked_at = [other for other, page in every.items() if other != number and _is_picture(page)]
    return [*looked_at, *range(_LOOKED_AT + 1, page_count(file) + 1)]


def _is_raw(first: tifffile.TiffPage) -> bool:
    """Whether a camera wrote it: DNG says so; NEF begins with a small picture and has the raw pixels below it."""
    kinds = (int(page.photometric) for page in (first, *_below(first)))
    return _DNG_VERSION in first.tags or any(kind in _RAW_KINDS for kind in kinds)


def _below(page: tifffile.TiffPage) -> Sequence[tifffile.TiffPage]:
    return [one for one in page.pages or () if isinstance(one, tifffile.TiffPage)]


def _preview(every: Sequence[tifffile.TiffPage]) -> Pages:
    """The largest picture that a raw camera file holds beside its raw pixels."""
    there_are = [one for page in every for one in (page, *_below(page))]
    found = [page for page in there_are if page.photometric in _PREVIEW_KINDS and page.dtype == "uint8"]
    if not found:
        raise ItemError(
            "unsupported", "this is a raw camera file (DNG) without a preview in colours; develop it to TIFF or JPEG"
        )
    return Pages(page=max(found, key=_size), number=0, is_preview=True)


def _channels(
    file: tifffile.TiffFile, every: dict[int, tifffile.TiffPage], found: Pages, bands: Sequence[int]
) -> Sequence[tifffile.TiffPage]:
    """The pages that are bands of one picture: where the file says so, or a person asks for more than one page has."""
    if int(found.page.samplesperpixel) != 1 or not found.left:
        return ()
    alike = [page for page in every.values() if _is_picture(page) and _layout(page) == _layout(found.page)]
    is_asked = max(bands, default=0) > 1
    return alike if len(alike) > 1 and (is_asked or _says_channels(file, len(alike))) else ()


def _layout(page: tifffile.TiffPage) -> tuple[object, ...]:
    """What must be the same of pages that are read as one."""
    is_plain = (page.is_contiguous, page.fillorder, page.predictor, page.compression)
    return page.shape, page.dtype, page.photometric, page.bitspersample, page.chunks, is_plain


def _says_channels(file: tifffile.TiffFile, pages: int) -> bool:
    text = str(file.pages.first.tags.valueof(270, default=""))[:DESCRIPTION_AT_MOST]
    for counted, others in _CHANNELS:
        if (count := counted.search(text)) and int(count[1]) == pages and not others.search(text):
            return True
    return False
