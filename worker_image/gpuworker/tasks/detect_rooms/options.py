"""What a person may ask of the task `detect-rooms`, with every default in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gpuworker.checks.option_rules import FLAG, PAGES, Rule, number, one_of, whole
from gpuworker.images.limits import Limits

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("min_area", "max_area"), number(1)),
    **dict.fromkeys(("min_area_share", "max_area_share"), number(0, 1)),
    "epsilon_factor": number(0, 0.2),
    "max_gap": number(0),
    "polarity": one_of("auto", "dark", "light"),
    "pages": PAGES,
    "labels": one_of("auto", "on", "off"),
    **dict.fromkeys(("deskew", "overlays", "thumbnails"), FLAG),
    "max_bytes": whole(1),
    "max_pixels": whole(0),
}
"""The same limits as `gpupipe.tasks.detect_rooms` has; a test holds the two against each other."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options, which were validated before the upload; a missing one has the default below.

    Lengths and areas are in pixels of the picture as it was sent.
    """

    min_area: float = 1_000.0
    max_area: float = 1_000_000.0
    min_area_share: float = 0.0003
    """A room has at least `min_area` and at least this share of the page: dust on a 600-dpi scan is no room."""
    max_area_share: float = 0.5
    """A room has at most `max_area` or at most this share of the page, whichever is more; 0 leaves the share out."""
    epsilon_factor: float = 0.01
    """An outline is simplified by at most this share of its own length."""
    max_gap: float = 0.0
    """Doors and windows are at most this wide; 0: by the thickness of the walls, at least 125 pixels."""
    polarity: Literal["auto", "dark", "light"] = "auto"
    """What the lines are: "dark" on light paper, "light" on dark; "auto": the thinner of the two tones."""
    pages: int | Literal["first", "all"] = "first"
    """Of a TIFF with several: the plan that it shows first, one of them from 1, or each."""
    deskew: bool = True
    labels: Literal["auto", "on", "off"] = "auto"
    """Read the text in rooms: where the OCR package is installed, always, or never."""
    overlays: bool = True
    thumbnails: bool = True
    max_bytes: int = Limits.max_bytes
    max_pixels: int | None = None
    """None: an image that is decoded whole may have as many as memory allows."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Read the job's plain options; those of other tasks are left alone."""
        return cls(**{f.name: options[f.name] for f in fields(cls) if options.get(f.name) is not None})

    def as_plain(self) -> dict[str, Any]:
        """All of them as JSON knows it, as written into results."""
        return asdict(self)

    def limits(self, memory_bytes: int | None = None) -> Limits:
        """`memory_bytes`: what images may take; None: this machine's budget."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels or None, memory_bytes=memory_bytes)

    def least_area(self, page_area: float) -> float:
        return max(self.min_area, self.min_area_share * page_area)

    def most_area(self, page_area: float) -> float:
        return max(self.max_area, self.max_area_share * page_area)
