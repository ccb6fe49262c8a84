"""Options of `detect-rooms`: the rooms of floor plans as polygons, found by their walls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gpupipe.tasks import TaskOptions
from gpupipe.tasks.pixels import IMAGE_SUFFIXES, MAX_PIXELS_ABOUT, PAGES_ABOUT, UNSET, MaxPixels, Pages
from gpuworker.contract import InputKind


class DetectRoomsOptions(TaskOptions):
    """What `detect-rooms` can be told; lengths and areas are in pixels of the pictures as they are sent."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    input_suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    finds: ClassVar[tuple[str, str]] = ("room", "rooms")
    example: ClassVar[Mapping[str, Any]] = {"polarity": "light"}

    min_area: float = Field(1_000.0, ge=1.0, description="Smaller regions are no rooms, in pixels.")
    max_area: float = Field(1_000_000.0, ge=1.0, description="Larger regions are no rooms, in pixels.")
    min_area_share: float = Field(
        0.0003, ge=0.0, le=1.0, description="Nor are those below this share of the page; 0: min_area alone counts."
    )
    max_area_share: float = Field(
        0.5, ge=0.0, le=1.0, description="Up to this share of the page a room may exceed max_area; 0: max_area alone."
    )
    epsilon_factor: float = Field(
        0.01, ge=0.0, le=0.2, description="Outlines are simplified by at most this share of their length."
    )
    max_gap: float = Field(0.0, ge=0.0, description="The widest door or window, in pixels; 0: by the walls' thickness.")
    polarity: Literal["auto", "dark", "light"] = Field(
        "auto",
        description="What the lines are: dark (on light paper), light (on dark: blueprints, negatives, CAD screens), "
        "or auto: seen by their width.",
    )
    pages: Pages = Field("first", description=PAGES_ABOUT)
    deskew: bool = Field(True, description="Turn plans that lie askew by up to 6 degrees.")
    labels: Literal["auto", "on", "off"] = Field(
        "auto", description="Read room names by OCR: where the worker has it, always, or never."
    )
    overlays: bool = Field(True, description="Write overlay.jpg beside each result.")
    thumbnails: bool = Field(True, description="Write thumb.jpg, which the report shows.")
    max_bytes: int = Field(4 * 1024**3, ge=1, description="Larger files fail as too_large.")
    max_pixels: MaxPixels = Field(UNSET, ge=0, description=MAX_PIXELS_ABOUT)

    @model_validator(mode="after")
    def _areas_leave_room(self) -> DetectRoomsOptions:
        if self.min_area > self.max_area:
            raise ValueError(f"min_area ({self.min_area:g}) is more than max_area ({self.max_area:g})")
        return self

    def seconds_per_item(self) -> float:
        """A plan of a megapixel on one CPU core, and its text where it is surely read; measured times replace it."""
        return 1.2 if self.labels == "on" else 0.2
