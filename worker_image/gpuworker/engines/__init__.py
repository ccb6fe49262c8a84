"""The table of engines, and how one is made; importing this loads no library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpuworker.contract import install_command
from gpuworker.models import ModelError

if TYPE_CHECKING:
    from gpuworker.engines.base import Engine


ENGINES: Mapping[str, str] = {
    "nanodet": "gpuworker.engines.nanodet:NanoDet",
    "sam3": "gpuworker.engines.sam3.engine:Sam3",
    "vegetation": "gpuworker.engines.vegetation:Vegetation",
}
"""Engine name -> "module:Class". A new engine is one file and one line here."""


_INSTALL = f"{install_command('worker')} on the machine that runs the worker"


def make_engine(name: str, engines: Mapping[str, str] = ENGINES) -> Engine:
    """Make the engine called `name`.

    Raises ValueError, which names those there are, for an unknown one, and ModelError where its libraries are missing.
    """
    if name not in engines:
        raise ValueError(f"there is no engine {name!r}; there is {', '.join(sorted(engines))}")
    module, _, attribute = engines[name].partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        raise ModelError(f"engine {name} needs {error.name}, which is not installed: {_INSTALL}") from error
    return engine
