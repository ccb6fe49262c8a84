"""Files of several pages, each of which is an image of its own: what is written of them as one item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gpuworker import coco
from gpuworker.contract.fragments import MORE
from gpuworker.images import Opened
from gpuworker.opening import rendering_of
from gpuworker.segment_options import Options
from gpuworker.tasks import Encoded, ItemError
from gpuworker.tiff_pages import pictures_in

PAGES_AT_MOST = 200
"""Of one file with `pages = "all"`: they are in memory together, and have one limit of time."""


def by_page(data: Any, options: Options) -> Sequence[Options]:
    """The options for each page that is to be looked at: one, but for `pages = "all"`.

    Raises ItemError, as opening the file does, and `too_large` for more than `PAGES_AT_MOST` pages.
    """
    if options.pages != "all":
        return (options,)
    first = replace(options, pages="first")
    tiff = Opened.of(data, rendering_of(first)).tiff
    if tiff is None or tiff.channels:
        return (first,)
    numbers = pictures_in(tiff.file)
    if len(numbers) < 2:
        return (first,)
    if len(tiff.file.pages) > PAGES_AT_MOST:
        message = f"the TIFF has {len(tiff.file.pages):,} pages; at most {PAGES_AT_MOST} are looked at with pages = all"
        raise ItemError("too_large", f"{message}. Split it (tiffsplit), or name one page by its number")
    return [replace(options, pages=number) for number in numbers]


def joined_pages(pages: Sequence[Encoded], head: Mapping[str, Any]) -> Encoded:
    """One result of all pages; what a page has beside the first lies below `pages/<its place from 1>/`."""
    if len(pages) == 1:
        return pages[0]
    first, *others = pages
    fragments = [page.fragment for page in pages]
    files = dict(first.files)
    for number, page in enumerate(others, 2):
        files |= {f"pages/{number}/{name}": file for name, file in page.files.items()}
    return Encoded(
        files=files,
        record=coco.record(head, *fragments),
        fragment={**first.fragment, MORE: [page.fragment for page in others]},
        counts=coco.counts(*fragments),
    )
