"""What differs between an old and a new value, in lines that people read: the difference itself, never cut away.

An environment is one long JSON text of which two letters change, so JSON inside texts is opened, and of what remains
long the place is shown where the two part.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SHORT = 48
"""Characters that are shown whole."""
AROUND = 12
"""Characters of what is the same, on either side of what differs."""
DIFFERENT_MAX = 200
"""Of what differs: four lines in a table of 80 columns."""
_NOTHING = object()


def difference_lines(name: str, old: Any, new: Any) -> Iterator[str]:
    """`environment.GPUPIPE_FUNCTION.task_options.prompts: ['car'] -> ['bus']`: a line for each value that differs."""
    if old == new and type(old) is type(new):
        return
    before, after = _opened(old), _opened(new)
    if before == after and old != new:
        yield f"{name}: the same, written in another way"
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_tables(name, before, after)
    elif isinstance(before, list) and isinstance(after, list) and not _is_short(before, after):
        yield from _of_lists(name, before, after)
    elif before != after or type(before) is not type(after):
        yield f"{name}: {' -> '.join(_parted(_text(before), _text(after)))}"


def _of_tables(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key, _NOTHING), new.get(key, _NOTHING)
        if _came_or_went(before, after):
            yield from _of_tables(f"{name}.{key}", *({} if one is _NOTHING else one for one in (before, after)))
        elif before != after:
            yield from difference_lines(f"{name}.{key}", before, after)


def _came_or_went(before: Any, after: Any) -> bool:
    """A whole table, of which each value has a line; an empty one has none."""
    there = after if before is _NOTHING else before
    return (before is _NOTHING or after is _NOTHING) and isinstance(there, Mapping) and bool(there)


def _of_lists(name: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[str]:
    """What went and what came; where each has its counterpart, how that changed."""
    gone, come = _without(old, new), _without(new, old)
    if not gone and not come:
        yield f"{name}: the same, in another order"
    for number, (before, after) in enumerate(itertools.zip_longest(gone, come, fillvalue=_NOTHING), 1):
        place = f"{name}[{number}]" if len(gone) > 1 or len(come) > 1 else name
        yield from difference_lines(place, before, after)


def _without(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Those of the values that the others have not, as often as they have not."""
    left, own = list(others), []
    for value in values:
        if value in left:
            left.remove(value)
        else:
            own.append(value)
    return own


def _opened(value: Any) -> Any:
    """JSON inside a text, also below a first line that says what it is (`#cloud-config`); everything else as it is."""
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str):
        return value
    head, _, rest = value.partition("\n")
    text = rest if head.startswith("#") else value
    if not text.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return value


def _is_short(*values: Any) -> bool:
    return all(len(_text(value)) <= SHORT for value in values)


def _text(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    return value if isinstance(value, str) else repr(value)


def _parted(old: str, new: str) -> tuple[str, str]:
    """Both whole where they are short, else each from shortly before the place where they part."""
    if len(old) <= SHORT and len(new) <= SHORT:
        return old, new
    same = _same(old, new)
    same_at_end = _same(old[same:][::-1], new[same:][::-1])
    return _around(old, same, len(old) - same_at_end), _around(new, same, len(new) - same_at_end)


def _same(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _around(text: str, start: int, end: int) -> str:
    """`text` between two places and a little of what surrounds it, with … for what is left out."""
    first, last = max(0, start - AROUND), min(len(text), end + AROUND, start + DIFFERENT_MAX)
    return f"{'…' if first else ''}{text[first:last]}{'…' if last < len(text) else ''}"
