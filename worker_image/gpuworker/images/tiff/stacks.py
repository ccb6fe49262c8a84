"""The pages of a TIFF, among them those without a directory: some programs write one for a stack, and the rest behind.

ImageJ does so beyond 4 GB, MetaMorph always, tifffile where it is asked to: the first page's pixels are followed by
those of the others, of the same size and kind, and only a description says how many there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from copy import copy
from itertools import islice

import tifffile

from gpuworker.contract.items import ItemError

DESCRIPTION_AT_MOST = 1 << 20
_IMAGEJ = re.compile(r"^images=(\d{1,9})\b", re.M)
_TIFFFILE = re.compile(r'^\{.*?"shape": \[(\d{1,9}(?:, \d{1,9}){0,9})\]')
PAGES_AT_MOST = 1_000_000
"""Following so many takes some seconds; microscopes write a tenth of it."""
_METAMORPH_PLANES = 33629
"""UIC2Tag: as many values as there are planes."""


def page_count(file: tifffile.TiffFile) -> int:
    """Pages with a directory and those without."""
    return max(len(file.pages), _planes(file))


def pages_in(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """All of them in order."""
    planes = _planes(file)
    pages = file.pages if planes <= 1 else (_plane(file.pages.first, plane) for plane in range(planes))
    yield from (page for page in pages if isinstance(page, tifffile.TiffPage))


def page_at(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage | None:
    """The one with this number from 1; None where there is none."""
    if number > page_count(file):
        return None
    page = _plane(file.pages.first, number - 1) if _planes(file) > 1 else file.pages[number - 1]
    return page if isinstance(page, tifffile.TiffPage) else None


def _plane(first: tifffile.TiffPage, plane: int) -> tifffile.TiffPage:
    page = copy(first)
    page.dataoffsets = tuple(offset + plane * first.nbytes for offset in first.dataoffsets)
    return page


def require_end(file: tifffile.TiffFile, pages_at_most: int = PAGES_AT_MOST) -> None:
    """From directory to directory: a loop, as Brent finds it (1980), tifffile would follow for ever.

    Raises ItemError `unreadable`, or `too_large` for more pages.
    """
    at, marked, until = file.pages.first.offset, -1, 1
    for page in range(1, pages_at_most + 1):
        if page == until:
            marked, until = at, 2 * until
        at = _directory_after(file, at)
        if at == 0:
            return
        if at == marked:
            raise ItemError("unreadable", "the TIFF is damaged: its list of pages leads back to an earlier page")
    raise ItemError("too_large", f"the TIFF has more than {pages_at_most:,} pages. Split it (tiffsplit)")


def _directory_after(file: tifffile.TiffFile, at: int) -> int:
    """Where the next begins; 0 where there is none that the file holds."""
    form = file.tiff
    tags = _number(file, at, form.tagnosize)
    after = _number(file, at + form.tagnosize + tags * form.tagsize, form.offsetsize)
    return after if after < file.filehandle.size else 0


def _number(file: tifffile.TiffFile, at: int, size: int) -> int:
    file.filehandle.seek(at)
    return int.from_bytes(file.filehandle.read(size), "little" if file.tiff.byteorder == "<" else "big")


def _planes(file: tifffile.TiffFile) -> int:
    """How many pictures lie behind one another in a file with a single directory, by what it says and has room for."""
    first = file.pages.first
    if not first.nbytes or not first.is_contiguous or len(list(islice(file.pages, 2))) > 1:
        return 1
    room = (file.filehandle.size - first.dataoffsets[0]) // first.nbytes
    return max(1, min(_said(first), int(room)))


def _said(page: tifffile.TiffPage) -> int:
    if _METAMORPH_PLANES in page.tags:
        return int(page.tags[_METAMORPH_PLANES].count)
    text = str(page.tags.valueof(270, default=""))[:DESCRIPTION_AT_MOST]
    if text.startswith("ImageJ=") and (found := _IMAGEJ.search(text)):
        return int(found[1])
    if found := _TIFFFILE.match(text):
        shape = [int(length) for length in found[1].split(",")]
        return math.prod(shape) // max(1, math.prod(int(length) for length in page.shape))
    return 1
