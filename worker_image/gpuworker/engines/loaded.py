"""An engine in use: at most as many threads inside its model as it allows, whichever task and job they come from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuworker.engines import Engine

if TYPE_CHECKING:
    from gpuworker.segment_options import Options


class Loaded:
    """An engine that is loaded, and the gate before its model."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._gate = threading.Semaphore(engine.infer_threads)

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        """What the engine's `detect` gives; waits while others are in it."""
        with self._gate:
            return self.engine.detect(prepared, options)
