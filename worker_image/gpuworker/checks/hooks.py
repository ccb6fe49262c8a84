"""What makes a misspelt hook fail: a base class whose subclasses may not add a public name that nobody would call."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class Hooks:
    """Direct subclasses are interfaces (`Task`, `Engine`): what is public in them are hooks, most with a default.

    A class below one overrides hooks. A public name of its own it gives as `own`, as in
    `class Mine(Engine, own={"network"})`; any other that no base has raises TypeError where the class is made, and so
    does an attribute without a default that is not set.
    """

    def __init_subclass__(cls, *, own: Collection[str] = (), **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if Hooks in cls.__bases__:
            return
        interface = next(base for base in cls.__mro__ if Hooks in base.__bases__)
        hooks = {name for base in cls.__mro__[1:] for name in _public(base)}
        if unknown := sorted(_public(cls) - hooks - set(own)):
            raise TypeError(_unknown(cls, interface, unknown[0]))
        needed = [name for name in interface.__annotations__ if not hasattr(cls, name)]
        if needed:
            raise TypeError(f"{cls.__module__}.{cls.__qualname__} does not set {', '.join(needed)}")


def _public(cls: type) -> set[str]:
    return {name for name in (*vars(cls), *vars(cls).get("__annotations__", ())) if not name.startswith("_")}


def _unknown(cls: type, interface: type, name: str) -> str:
    near = get_close_matches(name, sorted(_public(interface)), n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return (
        f"{cls.__module__}.{cls.__qualname__} has {name}, which {interface.__name__} does not know and nobody would "
        f'call. {meant}If it is its own, say so: class {cls.__name__}(…, own={{"{name}"}})'
    )
