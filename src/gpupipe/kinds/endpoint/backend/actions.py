"""What the guard can decide to do with an endpoint; each is safe to repeat, and to have been killed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpupipe.functions.actions import BackendAction


@dataclass(frozen=True, kw_only=True)
class ScaleVariants(BackendAction):
    """Ask for so many instances of an endpoint's variants."""

    instances: Mapping[str, int]
    reason: str


@dataclass(frozen=True, kw_only=True)
class SuspendScaling(BackendAction):
    """Forbid or allow that instances are added to an endpoint's variants by themselves."""

    variants: Sequence[str]
    suspended: bool
