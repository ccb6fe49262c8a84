"""Classes that are whole or refused: whoever leaves out a member learns it at import, not in a function at night."""

from __future__ import annotations

from typing import Any


class Whole:
    """Beside ABC, a base of what a kind has to answer: whatever derives from that has to answer all of it.

    Python refuses an abstract class only where one is made, which for most of a kind's classes is inside Lambda.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        """Raises TypeError for a class that leaves something out, with its name and what that is."""
        super().__init_subclass__(**more)
        if Whole in cls.__bases__:
            return
        missing = sorted(name for name in dir(cls) if _is_asked(cls, name))
        if missing:
            raise TypeError(f"{cls.__module__}.{cls.__qualname__} leaves out {', '.join(missing)}")


def _is_asked(cls: type, name: str) -> bool:
    return getattr(getattr(cls, name, None), "__isabstractmethod__", False) is True
