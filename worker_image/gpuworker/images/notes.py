"""What people have to know of how a file was read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

PAGES_LEFT, PICTURES_LEFT, PREVIEW, MASK_LEFT, BLANK = "pages_left", "pictures_left", "preview", "mask_left", "blank"
"""Warnings: other pages hold pictures too; there are other pictures or frames; the camera's own preview was looked at
in place of its raw pixels; its mask could not be read part by part; nothing is in it."""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """`warnings` are words of `contract.CAVEATS`; pages count from 1."""

    warnings: tuple[str, ...] = ()
    page: int | None = None
    """Which one was looked at, of a file with several."""
    pages_left: tuple[int, ...] = ()
    """Those with other pictures."""

    @property
    def as_keys(self) -> dict[str, Any]:
        """As keys of COCO's image: those of which there is something to say."""
        said = {"warnings": list(self.warnings), "page": self.page, "pages_left": list(self.pages_left)}
        return {name: value for name, value in said.items() if value}

    def and_warnings(self, words: tuple[str, ...]) -> Notes:
        """The same with more warnings, each once."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *words)))) if words else self

    def without(self, word: str) -> Notes:
        """The same without a warning."""
        return replace(self, warnings=tuple(one for one in self.warnings if one != word))


NOTHING = Notes()
FRAMES_LEFT = Notes(warnings=(PICTURES_LEFT,))
