"""Options of `detect-rooms`: the rooms of floor plans as polygons, found by their walls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gpupipe.tasks import TaskOptions
from gpupipe.tasks.pixels import IMAGE_SUFFIXES, MAX_PIXELS_ABOUT, PAGES_ABOUT, UNSET, MaxPixels, Pages
from gpuworker.contract import InputKind


class DetectRoomsOptions(TaskOptions):
    """Options of task `detect-rooms`; lengths and areas are in pixels of the pictures as they are sent."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    input_suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    finds: ClassVar[tuple[str, str]] = ("room", "rooms")
    example: ClassVar[Mapping[str, Any]] = {"polarity": "light"}

    min_area: float = Field(1_000.0, ge=1.0, description="Least area of a room, in square pixels.")
    max_area: float = Field(
        1_000_000.0, ge=1.0, description="Greatest area of a room, in square pixels, unless max_area_share allows more."
    )
    min_area_share: float = Field(
        0.0003,
        ge=0.0,
        le=1.0,
        description="Least area of a room as a share of the page's, beside min_area; 0: min_area alone counts.",
    )
    max_area_share: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="A room may be larger than max_area up to this share of the page's area; 0: max_area alone counts.",
    )
    epsilon_factor: float = Field(
        0.01, ge=0.0, le=0.2, description="A room's outline is simplified by at most this share of its length."
    )
    max_gap: float = Field(
        0.0, ge=0.0, description="Width of the widest door or window, in pixels; 0: by the walls' thickness."
    )
    polarity: Literal["auto", "dark", "light"] = Field(
        "auto",
        description="What the lines of the plan are: dark (on light paper), light (on dark: blueprints, negatives, CAD "
        "screens), or auto: seen by their width.",
    )
    pages: Pages = Field("first", description=PAGES_ABOUT)
    deskew: bool = Field(True, description="Whether plans that lie askew by up to 6 degrees are turned upright.")
    labels: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether room names are read by OCR; auto: where the worker has it."
    )
    overlays: bool = Field(
        True, description="Whether overlay.jpg, the image with what was found, is written beside each result."
    )
    thumbnails: bool = Field(
        True, description="Whether thumb.jpg, which the report shows, is written beside each result."
    )
    max_bytes: int = Field(4 * 1024**3, ge=1, description="Files of more bytes fail as too_large.")
    max_pixels: MaxPixels = Field(UNSET, ge=0, description=MAX_PIXELS_ABOUT)

    @model_validator(mode="after")
    def _areas_leave_room(self) -> DetectRoomsOptions:
        if self.min_area > self.max_area:
            raise ValueError(f"min_area ({self.min_area:g}) is more than max_area ({self.max_area:g})")
        return self

    def seconds_per_item(self) -> float:
        """A plan of a megapixel on one CPU core, and its text where it is surely read; measured times replace it."""
        return 1.2 if self.labels == "on" else 0.2
