"""What tasks that take images share: which files they take, which of their pages, and up to how many pixels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

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
MAX_PIXELS_ABOUT = "Images of more pixels fail as too_large; 0: as many pixels as the worker's memory allows."


def either(words: str) -> WrapValidator:
    """One mistake in place of one for each thing that it could have been."""

    def valid(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise ValueError(f"must be {words}") from error

    return WrapValidator(valid)


Pages = Annotated[Annotated[int, Field(ge=1)] | Literal["first", "all"], either('a page from 1, "first" or "all"')]
PAGES_ABOUT = (
    'Which pages of a TIFF are looked at: "first", the picture it shows first; a number from 1; "all", each as an '
    "image of its own."
)
