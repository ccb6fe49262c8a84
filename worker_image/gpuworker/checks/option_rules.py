"""What the options of a job may be: the configuration's own limits, held again where a job's document is read.

`submit` has validated what it wrote; but who may write one object may write any `job.json` or shard. A name that this
version does not know is passed over, as one of an earlier version's options would be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PROMPT_CHARACTERS_MAX = 120
PROMPTS_MAX = 1_000
"""No engine takes as many; more are no job's but an attack."""

Rule = tuple[str, Callable[[Any], bool]]
"""What a value has to be, in words, and whether it is."""


def mistake_in(options: Mapping[str, Any], rules: Mapping[str, Rule]) -> str:
    """The first option that is not what it has to be, in words; "" where there is none."""
    for name, (words, holds) in rules.items():
        value = options.get(name)
        if value is not None and not holds(value):
            return f"its option {name} has to be {words}, and is {repr(value)[:100]}"
    return ""


def number(low: float, high: float = math.inf, *, above: bool = False) -> Rule:
    """From `low` (or above it) to `high`."""
    words = f"a number {'above' if above else 'from'} {low:g}" + (f" to {high:g}" if high < math.inf else "")
    return words, lambda value: _is_number(value) and low <= value <= high and not (above and value == low)


def whole(low: int, high: float = math.inf) -> Rule:
    words = f"a whole number from {low}" + (f" to {high:,}" if high < math.inf else "")
    return words, lambda value: _is_whole(value) and low <= value <= high


def one_of(*words: str) -> Rule:
    return f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words


FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
TEXT: Rule = ("a text", lambda value: isinstance(value, str))


def _is_page(value: Any) -> bool:
    return value in ("first", "all") if isinstance(value, str) else _is_whole(value) and value >= 1


PAGES: Rule = ("a page from 1, first or all", _is_page)


def list_of(words: str, holds: Callable[[Any], bool], *, lengths: Sequence[int]) -> Rule:
    return words, lambda value: isinstance(value, list | tuple) and len(value) in lengths and all(map(holds, value))


PROMPTS: Rule = list_of(
    f"a list of texts of up to {PROMPT_CHARACTERS_MAX} characters",
    lambda value: isinstance(value, str) and value.isprintable() and 0 < len(value) <= PROMPT_CHARACTERS_MAX,
    lengths=range(PROMPTS_MAX + 1),
)
SHARES: Rule = (
    "an object of numbers from 0 to 1",
    lambda value: isinstance(value, Mapping) and all(_is_number(one) and 0 <= one <= 1 for one in value.values()),
)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
