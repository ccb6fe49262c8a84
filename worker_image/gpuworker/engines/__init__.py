"""What an engine is (the model behind the task `segment`), and the table of them; importing this loads no library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gpuworker.images import Image
    from gpuworker.masks import Instance
    from gpuworker.segment_options import Options
    from gpuworker.tasks import ItemError

ENGINES: Mapping[str, str] = {"nanodet": "gpuworker.engines.nanodet:NanoDet"}
"""Engine name -> "module:Class". A new engine is one file and one line here."""


class Engine(Protocol):
    """A model that finds instances. Implementations are plain classes, made once a process with no arguments."""

    infer_threads: int
    """How many threads may be inside `detect` at once (1 where the model owns a GPU)."""
    batch_size: int
    """The most images `detect` gains from at once."""
    enough_px: int | None
    """A long side beyond which more pixels bring nothing, so that files may be decoded smaller; None: all count."""

    def load(self, device: str) -> None:
        """Load the model onto `device` ("cpu", "cuda"). Raises on failure."""

    @property
    def info(self) -> Mapping[str, Any]:
        """`name`, `version` and `notes` for people, as written into every result; known before `load`."""

    def categories(self, options: Options) -> Sequence[str]:
        """What instances are called: category i is the i-th, from 1. Raises ValueError for a prompt it cannot take."""

    def detect(self, images: Sequence[Image], options: Options) -> Sequence[list[Instance] | ItemError]:
        """The instances of each image, the surest first, in coordinates of the full image."""


def make_engine(name: str) -> Engine:
    """Make the engine called `name`. Raises ValueError, which names those there are, for an unknown one."""
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}; there is {', '.join(sorted(ENGINES))}")
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), attribute)()
    return engine
