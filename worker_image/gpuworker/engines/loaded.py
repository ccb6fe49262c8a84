"""An engine in use: at most as many threads inside its model as it allows, whichever task and job they come from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gpuworker.engines.base import Engine
from gpuworker.engines.fitting import Fitting

if TYPE_CHECKING:
    from gpuworker.engines.options import Options


class Loaded:
    """An engine that is loaded, the gate before its model, and how much fits into it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._fitting = Fitting(engine)
        self._gate = threading.Semaphore(engine.infer_threads)
        self._threads = ThreadPoolExecutor(engine.infer_threads, thread_name_prefix="model")

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        """What the engine's `detect` gives, of any number of pictures; waits while others are in it.

        An ItemError `out_of_memory` stands for a picture that does not fit even alone and frugally.
        """
        with self._gate:
            return self._fitting.detect(prepared, options)

    def start(self, prepared: Sequence[Any], options: Options) -> Future[Sequence[Any]]:
        """The same in one of the engine's own threads, if it allows more than one; else it is done here and now."""
        if self.engine.infer_threads > 1:
            return self._threads.submit(self.detect, prepared, options)
        done: Future[Sequence[Any]] = Future()
        done.set_result(self.detect(prepared, options))
        return done
