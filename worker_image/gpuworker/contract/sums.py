"""Sums of what is counted by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

N = TypeVar("N", int, float)


def summed(parts: Iterable[Mapping[str, N]]) -> dict[str, N]:
    """`{"annotations": 31}` of `{"annotations": 30}` and `{"annotations": 1}`: name by name, as they come."""
    sums: dict[str, N] = {}
    for part in parts:
        for name, value in part.items():
            sums[name] = sums.get(name, type(value)()) + value
    return sums
