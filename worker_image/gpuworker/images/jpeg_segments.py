"""The segments of a JPEG as libjpeg finds them (its jdmarker.c), and whether its scans hold the whole picture.

What lies between two segments and is none is skipped, as libjpeg does with a warning: stray bytes are no reason to
refuse what it reads. What libjpeg reads in part, with a warning too, is one.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gpuworker.contract.items import ItemError

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
_BETWEEN = re.compile(rb"\xff[\x01-\xfe]")
_AFTER_A_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Inside entropy-coded data a 0xFF is always followed by a zero or a restart marker (ITU-T T.81, B.1.1.2)."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One of a JPEG's, from after its marker on."""

    marker: int
    at: int
    """Where its body begins."""
    body: bytes
    end: int
    """Where the next may begin; of a scan, where its entropy-coded data begin."""

    @property
    def is_frame(self) -> bool:
        """Does it say how large the picture is?"""
        return 0xC0 <= self.marker <= 0xCF and self.marker not in (0xC4, 0xC8, 0xCC) and len(self.body) >= 6


def segments(data: bytes | mmap.mmap) -> Iterator[Segment]:
    """All up to the end marker, which is the last of them. Raises ItemError where there is none."""
    at, pattern = 2, _BETWEEN
    while found := pattern.search(data, at):
        segment = _segment(data, data[found.start() + 1], found.end())
        yield segment
        if segment.marker == EOI:
            return
        at, pattern = segment.end, _AFTER_A_SCAN if segment.marker == SOS else _BETWEEN
    if pattern is _BETWEEN and data[at : at + 4096].strip(b"\xff"):
        raise ItemError("unreadable", "the JPEG's header is damaged")
    raise ItemError("truncated", "the JPEG is cut short: its end marker is missing")


def _segment(data: bytes | mmap.mmap, marker: int, at: int) -> Segment:
    if marker == 0x01 or 0xD0 <= marker <= EOI:  # these have no length
        return Segment(marker=marker, at=at, body=b"", end=at)
    length = max(2, int.from_bytes(data[at : at + 2]))
    if at + length > len(data):
        raise ItemError("truncated", "the JPEG is cut short inside its header")
    return Segment(marker=marker, at=at + 2, body=data[at + 2 : at + length], end=at + length)


@dataclass(frozen=True, kw_only=True)
class Scans:
    """Which of a JPEG's coefficients its scans hold."""

    is_covered: bool
    """Every component's DC and the first component's AC at full precision; without a progression, every component.
    Others of a progression may be left out by an encoder that found nothing in them."""
    end: int
    """Where the entropy-coded data of the last scan end."""


def scans_of(data: bytes | mmap.mmap) -> Scans:
    """Read the scans' headers, up to the end marker, the next picture or the end of the file."""
    components: list[int] = []
    exact: set[tuple[int, int]] = set()
    is_progressive, end = False, 0
    for segment in _of_this_picture(data):
        if segment.is_frame and not components:
            components, is_progressive = list(segment.body[6::3]), segment.marker & 3 == 2
        elif segment.marker == SOS:
            exact |= _exact(segment.body, is_progressive=is_progressive)
            after = _AFTER_A_SCAN.search(data, segment.end)
            end = after.start() if after else len(data)
    wanted = {(component, 0) for component in components}
    if is_progressive:
        wanted |= {(components[0], k) for k in range(1, 64)}
    return Scans(is_covered=bool(components) and wanted <= exact, end=end)


def _of_this_picture(data: bytes | mmap.mmap) -> Iterator[Segment]:
    begun = False
    try:
        for segment in segments(data):
            begun = begun or segment.marker == SOS
            if begun and segment.marker == SOI:
                return
            yield segment
    except ItemError:
        return


def _exact(scan: bytes, *, is_progressive: bool) -> set[tuple[int, int]]:
    """(component, coefficient) that a scan brings to full precision (ITU-T T.81, B.2.3)."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        return set()
    first, last, low = scan[1 + 2 * count], min(63, scan[2 + 2 * count]), scan[3 + 2 * count] & 15
    coefficients = range(first, last + 1) if is_progressive else range(1)
    return {(component, k) for component in scan[1 : 1 + 2 * count : 2] for k in coefficients if low == 0}
