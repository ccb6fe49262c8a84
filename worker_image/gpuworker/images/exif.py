"""How a stored picture is to be turned, by its EXIF block or, where that says nothing of it, by its XMP packet."""

from __future__ import annotations

import re
import struct

ORIENTATION = 0x0112
HEAD = b"Exif\0\0"
"""What JPEG writes before the block; other formats need none, and have it all the same where a program copied it."""

_ENTRIES_AT_MOST = 512
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
_FORMS = _WHOLE | {5: "II", 10: "ii", 11: "f", 12: "d"}
"""Types of numbers (TIFF 6.0, page 15, and BigTIFF's). It should be SHORT, and is not always."""
_IN_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9]+)")


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """Orientation 1..8; 1 where neither says one that makes sense.

    As Pillow does it: XMP counts where EXIF has no such tag, but not where it has one that makes no sense.
    """
    value = _in_exif(exif)
    if value is None and (found := _IN_XMP.search(xmp)):
        value = int(found[1][:2])
    return as_orientation(value)


def as_orientation(value: object) -> int:
    """1..8 of what a reader of tags gives for one, whatever its type and count; 1 of what makes no sense."""
    first = value[0] if isinstance(value, tuple | bytes) and value else value
    return int(first) if isinstance(first, int | float) and first in range(1, 9) else 1


def _in_exif(exif: bytes) -> object:
    """What the first directory of the block (a little TIFF) says; None where the tag is not there."""
    while exif.startswith(HEAD):
        exif = exif[len(HEAD) :]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return None
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    entries = int.from_bytes(exif[directory : directory + 2], "little" if order == "<" else "big")
    for at in range(directory + 2, directory + 2 + 12 * min(entries, _ENTRIES_AT_MOST), 12):
        if at + 12 <= len(exif) and struct.unpack_from(f"{order}H", exif, at) == (ORIENTATION,):
            return _first_value(exif, order, at)
    return None


def _first_value(exif: bytes, order: str, at: int) -> object:
    """Of the entry at this place, whatever its type and count; 0 where there is none."""
    kind, count, place = struct.unpack_from(f"{order}HII", exif, at + 2)
    form = _FORMS.get(kind)
    if form is None or not count:
        return 0
    size = struct.calcsize(form)
    start = at + 8 if size * count <= 4 else place
    if start + size > len(exif):
        return 0
    value, *divisor = struct.unpack_from(order + form, exif, start)
    return value / divisor[0] if any(divisor) else value
