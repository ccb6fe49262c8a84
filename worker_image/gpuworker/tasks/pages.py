"""Files of several pages of which each is to be an image of its own: which those are, and what is written of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gpuworker.contract.fragments import MORE, folder_of_picture
from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import Opened
from gpuworker.images.limits import Limits
from gpuworker.images.rendering import Page, Rendering
from gpuworker.images.tiff.pages import pictures_in
from gpuworker.images.tiff.stacks import page_count
from gpuworker.tasks.base import Encoded

Wanted = Page | Literal["all"]
PAGES_AT_MOST = 200
"""Of one file with `pages = "all"`: they are in memory together, and have one limit of time."""


def pages_to_look_at(data: bytes | Path, wanted: Wanted, rendering: Rendering) -> Sequence[Page]:
    """One, but for `wanted` "all" of a file with several pictures; `rendering`: how it will be read.

    Raises ItemError, as opening the file does, and `too_large` for more than `PAGES_AT_MOST` pages.
    """
    if wanted != "all":
        return (wanted,)
    tiff = Opened.of(data, replace(rendering, page="first")).tiff
    if tiff is None or tiff.channels:
        return ("first",)
    numbers = pictures_in(tiff.file)
    if len(numbers) < 2:
        return ("first",)
    if (pages := page_count(tiff.file)) > PAGES_AT_MOST:
        message = f"the TIFF has {pages:,} pages; at most {PAGES_AT_MOST} are looked at with pages = all"
        raise ItemError("too_large", f"{message}. Split it (tiffsplit), or name one page by its number")
    return numbers


def require_together(needed_bytes: int, limits: Limits, pages: int) -> None:
    """Of pages that are in memory at once. Raises ItemError `too_large`."""
    if pages > 1 and needed_bytes > limits.had_bytes:
        raise ItemError(
            "too_large",
            f"its {pages} pages need {needed_bytes / 1e9:.2f} GB of memory together, and this worker had "
            f"{limits.had_bytes / 1e9:.2f} GB for images. Name one page by its number (pages), or split the file",
        )


def as_one(pages: Sequence[Encoded], *, record: Mapping[str, Any], counts: Mapping[str, int]) -> Encoded:
    """One result of all pages; what a page has beside the first lies in a folder of its own."""
    fragments = [page.fragment for page in pages]
    return Encoded(
        files={
            folder_of_picture(place) + name: file
            for place, page in enumerate(pages)
            for name, file in page.files.items()
        },
        record=record,
        fragment={**fragments[0], MORE: fragments[1:]},
        counts=counts,
    )
