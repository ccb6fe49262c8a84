"""Why a plan has no rooms, and what a person can try: never a count of 0 alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuworker.tasks.detect_rooms.polarity import Polarity

_OTHER: Mapping[Polarity, Polarity] = {"dark": "light", "light": "dark"}
_TAKEN: Mapping[Polarity, str] = {"dark": "dark lines on light paper", "light": "light lines on dark paper"}

_REFUSED: Mapping[str, tuple[str, str]] = {
    "too_small": ("smaller than min_area or min_area_share allow", "lower min_area and min_area_share"),
    "too_large": ("larger than max_area and max_area_share allow", "raise max_area or max_area_share"),
    "too_thin": (
        "too narrow for the thickness of the walls",
        "send the plan alone, without a dark frame or title block",
    ),
    "open": ("enclosed by openings more than by walls", "set max_gap to the width of the widest door"),
    "margin": ("the paper inside a drawn frame", "cut the frame off"),
}
"""By the reason that `rejected` counts: what such a region is, and what to try."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """`code`: `no_ink`, `no_walls`, `open_walls` or `all_refused`; a sentence that says why, and one what to try."""

    code: str
    reason: str
    hint: str


def why_no_rooms(*, polarity: Polarity, has_ink: bool, wall_px: float, rejected: Mapping[str, int]) -> Absence:
    """What kept a plan without rooms from having any; `wall_px`: 0 where no walls were found."""
    refused = {word: rejected[word] for word in _REFUSED if rejected.get(word)}
    other = f"set polarity={_OTHER[polarity]}: it was read as {_TAKEN[polarity]}"
    if not has_ink:
        return _no_ink(polarity, other)
    if not wall_px:
        reason = "There is ink, but no stroke of it is long and thick enough for a wall."
        return Absence(code="no_walls", reason=reason, hint=f"Send it at a higher resolution, or {other}.")
    if not refused:
        reason = f"Walls of about {wall_px:.0f} pixels were found, but they enclose nothing: their outlines are open."
        hint = f"Set max_gap (in pixels) to the widest opening, or lower min_area; else {other}."
        return Absence(code="open_walls", reason=reason, hint=hint)
    counts = "; ".join(f"{number} {_REFUSED[word][0]} ({word})" for word, number in refused.items())
    tries = "; ".join(_REFUSED[word][1] for word in refused)
    hint = f"{tries[0].upper()}{tries[1:]}; else {other}."
    return Absence(code="all_refused", reason=f"Walls were found, but no region is a room: {counts}.", hint=hint)


def _no_ink(polarity: Polarity, other: str) -> Absence:
    tone = "darker" if polarity == "dark" else "lighter"
    reason = f"There is no ink: nothing in the picture is {tone} than its paper by a tenth of the scale."
    return Absence(code="no_ink", reason=reason, hint=f"Export it with more contrast, or {other}.")
