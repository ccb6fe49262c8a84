"""An engine in use: at most as many threads inside its model as it allows, whichever task and job they come from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuworker.engines import Engine
from gpuworker.engines.fitting import Fitting

if TYPE_CHECKING:
    from gpuworker.segment_options import Options


class Loaded:
    """An engine that is loaded, the gate before its model, and how much fits into it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._fitting = Fitting(engine)
        self._gate = threading.Semaphore(engine.infer_threads)

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        """What the engine's `detect` gives, of any number of pictures; waits while others are in it.

        An ItemError `out_of_memory` stands for a picture that does not fit even alone and frugally.
        """
        with self._gate:
            return self._fitting.detect(prepared, options)
