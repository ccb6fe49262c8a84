"""Batches that fit the device's memory: halved where they do not, then one picture frugally, then a typed failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuworker.engines import Engine
from gpuworker.memory import free_cached, is_out_of_memory
from gpuworker.tasks import ItemError

if TYPE_CHECKING:
    from gpuworker.segment_options import Options

GOOD_BATCHES_BEFORE_GROWING = 50
TOO_LITTLE = (
    "one picture does not fit into the memory of the model's device, even one prompt at a time; "
    "take an instance type with more of it"
)


class Fitting:
    """An engine's `detect`, for any number of pictures; remembers how many fit at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._good_batches = 0
        self.limit = engine.batch_size
        """The most that are given to the engine at once, for now."""

    def detect(self, prepared: Sequence[Any], options: Options) -> list[Any]:
        """What was found in each; ItemError `out_of_memory` in place of a picture that does not fit alone."""
        results: list[Any] = []
        while len(results) < len(prepared):
            part = prepared[len(results) : len(results) + self.limit]
            found = _unless_out_of_memory(lambda: self._engine.detect(part, options))  # noqa: B023 - called at once
            if found is not None:
                results += found
                self._grow()
            elif len(part) > 1:
                self.limit, self._good_batches = len(part) // 2, 0
            else:
                results.append(self._alone(part[0], options))
        return results

    def _alone(self, one: Any, options: Options) -> Any:
        found = _unless_out_of_memory(lambda: self._engine.detect_frugally(one, options))
        return ItemError("out_of_memory", TOO_LITTLE) if found is None else found

    def _grow(self) -> None:
        """What took the memory may be gone: another process, a job of many prompts."""
        self._good_batches += 1
        if self._good_batches >= GOOD_BATCHES_BEFORE_GROWING:
            self.limit, self._good_batches = min(self._engine.batch_size, self.limit * 2), 0


def _unless_out_of_memory(call: Callable[[], Any]) -> Any:
    """None where memory ran out; what was cached is free then, and no traceback holds what the call had made."""
    try:
        return call()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    free_cached()
    return None
