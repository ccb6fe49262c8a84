"""Numbers and options in words, for the page: no HTML."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

PALETTE_COLOURS = 7
"""Colours of categories in page.css: those that the worker paints masks with, in the same order."""


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 image`, `1,204 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `48 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y, %H:%M UTC")


def area(square_metres: float) -> str:
    """`38 cm²`, `4.2 m²`, `1,204 m²`, `3.1 ha`."""
    if square_metres < 0.1:
        return f"{square_metres * 1e4:,.3g} cm²"
    if square_metres < 100:
        return f"{square_metres:.3g} m²"
    return f"{square_metres:,.0f} m²" if square_metres < 10_000 else f"{square_metres / 10_000:,.2f} ha"


def colour(number: int) -> str:
    return f"k{(number - 1) % PALETTE_COLOURS}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one}" for name, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return value if isinstance(value, str) else json.dumps(value)
