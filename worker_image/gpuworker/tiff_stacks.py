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

DESCRIPTION_AT_MOST = 1 << 20
_IMAGEJ = re.compile(r"^ImageJ=.*?^images=(\d+)", re.M | re.S)
_TIFFFILE = re.compile(r'^\{.*?"shape": \[([\d, ]+)\]')
_METAMORPH_PLANES = 33629
"""UIC2Tag: as many values as there are planes."""


def page_count(file: tifffile.TiffFile) -> int:
    """Pages with a directory and those without."""
    return max(len(file.pages), _planes(file))


def pages_in(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """All of them in order."""
    if (planes := _planes(file)) <= 1:
        yield from (page for page in file.pages if isinstance(page, tifffile.TiffPage))
        return
    first = file.pages.first
    for plane in range(planes):
        page = copy(first)
        page.dataoffsets = tuple(offset + plane * first.nbytes for offset in first.dataoffsets)
        yield page


def _planes(file: tifffile.TiffFile) -> int:
    """How many pictures lie behind one another in a file with a single directory, by what it says and has room for."""
    first = file.pages.first
    if not first.nbytes or not first.is_contiguous or len(list(islice(file.pages, 2))) > 1:
        return 1
    room = int(file.filehandle.size - first.dataoffsets[0]) // int(first.nbytes)
    return max(1, min(_said(first), room))


def _said(page: tifffile.TiffPage) -> int:
    if _METAMORPH_PLANES in page.tags:
        return int(page.tags[_METAMORPH_PLANES].count)
    text = str(page.tags.valueof(270, default=""))[:DESCRIPTION_AT_MOST]
    if found := _IMAGEJ.search(text):
        return int(found[1])
    if found := _TIFFFILE.match(text):
        shape = [int(length) for length in found[1].split(",")]
        return math.prod(shape) // max(1, math.prod(int(length) for length in page.shape))
    return 1
