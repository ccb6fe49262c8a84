"""Patterns of project names: `*` stands for any number of characters, `?` for one; nothing else is special."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from gpuworker.contract.decisions import PROJECT_NAME_MAX, is_project_name

ANY_NUMBER, ANY_ONE = "*", "?"
_PATTERN_MAX = 2 * PROJECT_NAME_MAX + 1
"""Of one that a project's name can match: all of its characters, with a `*` before each and one behind."""
_FILLER = "x"
"""Stands where both patterns leave it open."""

_State = tuple[int, int, bool]
"""Places in both patterns, and whether anything but dots led there."""


def is_pattern(name: str) -> bool:
    """May it stand for several projects? Otherwise it is one project's name."""
    return ANY_NUMBER in name or ANY_ONE in name


def pattern_for(patterns: Iterable[str], project: str) -> str | None:
    """That of the patterns which counts for a project: its own name, else the longest; None where none matches.

    They hold letters, digits, `.`, `_`, `-`, `*` and `?` alone, and of two that are equally long one matches.
    """
    fitting = [pattern for pattern in patterns if fnmatchcase(project, pattern)]
    return max(fitting, key=lambda pattern: (pattern == project, len(pattern)), default=None)


def common_project(one: str, other: str = ANY_NUMBER) -> str | None:
    """The shortest project name that both patterns match; None where there is none."""
    one, other = _shortened(one), _shortened(other)
    if max(len(one), len(other)) > _PATTERN_MAX or _part(one, other) or _part(one[::-1], other[::-1]):
        return None
    names = dict(_onward(one, other, {(0, 0, False): ""}))
    seen: set[_State] = set()
    for _ in range(PROJECT_NAME_MAX + 1):
        if found := names.get((len(one), len(other), True)):
            return found
        seen |= names.keys()
        longer = {state: name for state, name in _longer(one, other, names) if state not in seen}
        names = dict(_onward(one, other, longer))
    return None


def _part(one: str, other: str) -> bool:
    """Do they differ before the first `*`? Most do, and comparing a hundred with each other must take no time."""
    for here, there in zip(one, other, strict=False):
        if ANY_NUMBER in (here, there):
            return False
        if here != there and ANY_ONE not in (here, there):
            return True
    return False


def _onward(one: str, other: str, names: Mapping[_State, str]) -> Iterator[tuple[_State, str]]:
    """The states, and those that are reached from them when a `*` stands for no more characters."""
    for (i, j, is_name), name in names.items():
        for further_i in _past_stars(one, i):
            for further_j in _past_stars(other, j):
                yield (further_i, further_j, is_name), name


def _past_stars(pattern: str, place: int) -> range:
    return range(place, place + 1 + pattern.startswith(ANY_NUMBER, place))


def _shortened(pattern: str) -> str:
    """Several `*` in a row are no more than one."""
    return re.sub(r"\*+", ANY_NUMBER, pattern)


def _longer(one: str, other: str, names: Mapping[_State, str]) -> Iterator[tuple[_State, str]]:
    """All of them with the one more character that both patterns allow there."""
    for (i, j, is_name), name in names.items():
        if i < len(one) and j < len(other) and (character := _allowed(one[i], other[j])):
            place = i + (one[i] != ANY_NUMBER), j + (other[j] != ANY_NUMBER)
            yield (*place, is_name or character != "."), name + character


def _allowed(one: str, other: str) -> str:
    """The character where the patterns say so: one of them decides, or neither; "" where they differ."""
    literals = {one, other} - {ANY_NUMBER, ANY_ONE} or {_FILLER}
    character = literals.pop()
    return character if not literals and is_project_name(f"{_FILLER}{character}") else ""
