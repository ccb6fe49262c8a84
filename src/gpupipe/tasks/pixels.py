"""What tasks that take images share: which files they take, and `max_pixels`, a person's number or none."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".dng", ".bmp"),
        *(".jp2", ".j2k", ".jpx", ".heic", ".heif", ".avif"),
    }
)
UNSET = 0


def _read(value: Any) -> Any:
    return UNSET if value is None else value


def _stored(value: int) -> int | None:
    return None if value == UNSET else value


# TOML has no null, so a person writes 0. A job carries null, which workers of earlier versions pass over; they would
# take 0 for a limit that no image keeps.
MaxPixels = Annotated[int, BeforeValidator(_read), PlainSerializer(_stored, return_type=int | None, when_used="json")]
MAX_PIXELS_ABOUT = "Larger images fail as too_large; 0: as many as the worker's memory allows."
