"""Numbers and options in words, for the page: no HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gpupipe.jobs.sources import shown

BRIEF_CHARACTERS = 200
"""Of a value on its card: as much as is read at a glance, and fits where a thumbnail would be."""
WHOLE_CHARACTERS = 4_000
"""Of a value that was opened: two screens, and 300 of them with their results are two megabytes at most; failures.json
and results.jsonl have all of it."""
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


def brief(value: Mapping[str, Any]) -> str:
    """A value in a line: its prompt, and what it says besides; cut."""
    rest = dict(value)
    prompt = rest.pop("prompt", None)
    parts = [prompt] if isinstance(prompt, str) else [_json(value)]
    parts += [f"{name}: {_json(one)}" for name, one in rest.items()] if isinstance(prompt, str) else []
    return cut(" · ".join(parts), BRIEF_CHARACTERS)


def whole(value: Mapping[str, Any]) -> str:
    """A value as JSON on several lines; cut where it is as long as a book."""
    return cut(json.dumps(value, ensure_ascii=False, indent=2), WHOLE_CHARACTERS, lines=True)


def cut(text: str, characters: int, *, lines: bool = False) -> str:
    """At most so many characters, and none that is invisible or turns the line round."""
    more = len(text) - characters
    short = text if more <= 0 else f"{text[:characters]}… (and {more:,} characters more)"
    return "\n".join(map(shown, short.split("\n"))) if lines else shown(" ".join(short.split()))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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
