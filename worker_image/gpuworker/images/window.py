"""A rectangle of an image: what is asked of a scene, and how a file's blocks lie in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Window:
    """A rectangle of an image in full-size pixels; rows first, so that sorted windows run along rows."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    def part_in(self, other: Window) -> tuple[slice, slice]:
        """Rows and columns, in this window's own pixels, of what it shares with another."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)

    @property
    def pixels(self) -> int:
        return self.height * self.width
