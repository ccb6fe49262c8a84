"""Answers that a look of the guard can do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gpupipe.functions import log

T = TypeVar("T")


def or_else(otherwise: T, ask: Callable[[], T]) -> T:
    """The answer, or `otherwise`: machines must be stopped in time whatever else fails."""
    try:
        return ask()
    except Exception as error:
        log.error("guard_sees_less", error)
        return otherwise
