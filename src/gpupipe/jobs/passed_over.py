"""What a search passes over: how much by reason, and which by name where a person may have meant it to be taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

HIDDEN, SIDECAR, OTHER, ARCHIVE = "hidden", "sidecar file", "not an image by its name", "archive inside a folder"
AUX = "GDAL's .aux.xml, of which no place is read (a world file is)"
ALONE, SECOND = "world file or .prj that places no image", "second world file of an image"
RESULT = "of results that gpupipe fetched"
TWICE, BROKEN_LINK, NOT_A_FILE = "named twice", "broken link", "not a file"

NAMED_REASONS = frozenset({OTHER, ARCHIVE, BROKEN_LINK, NOT_A_FILE, ALONE, SECOND, AUX, RESULT})
NAMED_MAX = 100
"""Names kept of each reason; the count says how many there were."""
_MANY = {
    SIDECAR: "sidecar files",
    ARCHIVE: "archives inside a folder",
    ALONE: "world files or .prj that place no image",
    SECOND: "second world files of an image",
    BROKEN_LINK: "broken links",
    NOT_A_FILE: "that are no files",
}
"""How a reason is said of several, where that differs."""
_SHOWN = 3


class PassedOver:
    """What one search has passed over so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """`name`: as a terminal can print it."""
        self.counts[reason] += 1
        if reason in NAMED_REASONS:
            names = self.names.setdefault(reason, [])
            if len(names) < NAMED_MAX:
                names.append(name)

    def __str__(self) -> str:
        return in_words(dict(sorted(self.counts.items())), self.names)


def in_words(counts: Mapping[str, int], names: Mapping[str, Sequence[str]]) -> str:
    """`3 hidden, 5 not an image by its name (a.mov, b.mov, c.mov and 2 more)`."""
    return ", ".join(
        f"{count:,} {reason if count == 1 else _MANY.get(reason, reason)}{_named(count, names.get(reason, ()))}"
        for reason, count in counts.items()
    )


def _named(count: int, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = count - len(names[:_SHOWN])
    return f" ({', '.join(names[:_SHOWN])}{f' and {more:,} more' if more else ''})"
