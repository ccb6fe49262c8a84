"""The pipeline kinds that there are: gpupipe's own, and those of packages that are installed beside it.

Such a package names its kinds as entry points of the group `gpupipe.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from gpupipe.errors import ConfigError
from gpupipe.kinds.endpoint import KIND as ENDPOINT
from gpupipe.kinds.kind import AnyKind, Kind
from gpupipe.kinds.queue import KIND as QUEUE
from gpupipe.settings import PipelineSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

KINDS: Mapping[str, AnyKind] = {kind.name: kind for kind in (ENDPOINT, QUEUE)}
"""gpupipe's own. A new kind is one folder and one line here."""
GROUP = "gpupipe.kinds"


def find(name: str) -> AnyKind | None:
    """The kind called so; None where there is none. Raises ConfigError as `every` does."""
    return KINDS.get(name) or _installed().get(name)


def of(settings: PipelineSettings) -> AnyKind:
    """The kind of a pipeline."""
    found = find(settings.kind)
    assert found is not None, settings.kind  # its settings were made by it
    return found


def every() -> tuple[AnyKind, ...]:
    """All, by name. Raises ConfigError where an installed package's kind is none."""
    return tuple(kind for _, kind in sorted({**_installed(), **KINDS}.items()))


def names() -> tuple[str, ...]:
    """Of all, in order."""
    return tuple(kind.name for kind in every())


@cache
def _installed() -> Mapping[str, AnyKind]:
    """Those of other packages; to find them takes a look at all that is installed, so only where it has to be."""
    from importlib.metadata import entry_points

    kinds: dict[str, AnyKind] = {}
    for point in entry_points(group=GROUP):
        if point.name in kinds or point.name in KINDS:
            raise _unusable(point, "there is another of this name", "Uninstall one of the two packages.")
        kinds[point.name] = _loaded(point)
    return kinds


def _loaded(point: EntryPoint) -> AnyKind:
    try:
        kind = point.load()
    except (Exception, SystemExit) as error:  # whatever another package's import may raise
        raise _unusable(point, f"it cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(kind, Kind):
        raise _unusable(point, f"it is no Kind: {kind!r}")
    if kind.name != point.name:
        raise _unusable(point, f"it calls itself {kind.name!r}")
    return kind


def _unusable(point: EntryPoint, why: str, hint: str = "Mend or uninstall the package that brings it.") -> ConfigError:
    return ConfigError(f"pipeline kind {point.name} ({point.value}) cannot be used: {why}.", hint=hint)
