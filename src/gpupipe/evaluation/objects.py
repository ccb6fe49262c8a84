"""Images and the objects in them, as truth and results both have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]
Segmentation = Mapping[str, Any] | Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image; its size is 0 × 0 where the file does not tell."""

    file_name: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One object."""

    file_name: str
    category: str
    box: Box
    """x, y, width, height in pixels."""
    segmentation: Segmentation | None = None
    """COCO's run lengths or polygons; None where only the box is known."""
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What one file tells: its images (also those without an object) and the objects in them."""

    path: Path
    pictures: Mapping[str, Picture]
    things: Sequence[Thing]


def names_of(things: Iterable[Thing]) -> list[str]:
    """Their categories, each once, in the order in which they come."""
    return list(dict.fromkeys(thing.category for thing in things))
