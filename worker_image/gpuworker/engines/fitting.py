"""Batches that fit the device's memory: halved where they do not, then one picture frugally, then a typed failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuworker.contract.items import ItemError
from gpuworker.engines.base import Engine
from gpuworker.process.batch_limit import BatchLimit
from gpuworker.process.memory import free_cached, is_out_of_memory

if TYPE_CHECKING:
    from gpuworker.engines.options import Options

TOO_LITTLE = (
    "one picture does not fit into the memory of the model's device, even one prompt at a time; "
    "take an instance type with more of it"
)


class Fitting:
    """An engine's `detect`, for any number of pictures; remembers how many fit at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.limit = BatchLimit(engine.batch_size)

    def detect(self, prepared: Sequence[Any], options: Options) -> list[Any]:
        """What was found in each; ItemError `out_of_memory` in place of a picture that does not fit alone."""
        results: list[Any] = []
        while len(results) < len(prepared):
            part = prepared[len(results) : len(results) + self.limit.now]
            found = _unless_out_of_memory(lambda: self._engine.detect(part, options))  # noqa: B023 - called at once
            if found is not None:
                results += found
                self.limit.fitted()
            elif len(part) > 1:
                self.limit.did_not_fit(len(part))
            else:
                results.append(self._alone(part[0], options))
        return results

    def _alone(self, one: Any, options: Options) -> Any:
        found = _unless_out_of_memory(lambda: self._engine.detect_frugally(one, options))
        return ItemError("out_of_memory", TOO_LITTLE) if found is None else found


def _unless_out_of_memory(call: Callable[[], Any]) -> Any:
    """None where memory ran out; what was cached is free then, and no traceback holds what the call had made."""
    try:
        return call()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    free_cached()
    return None
