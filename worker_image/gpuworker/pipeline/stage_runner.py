"""What every stage does around its own work: watch it, time it, and turn what goes wrong into outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from gpuworker.contract import Failure
from gpuworker.contract.items import ItemError
from gpuworker.models import ModelError
from gpuworker.pipeline.budget import BudgetClosed
from gpuworker.pipeline.isolation import IsolatorError
from gpuworker.pipeline.shard_run import InFlightItem, Outcome
from gpuworker.pipeline.watch import Abandoned, Watch
from gpuworker.process.log import Log
from gpuworker.process.memory import is_out_of_memory
from gpuworker.storage.objects import RefusedError, StorageError

ENCODERS = 3
"""The most that encode at once: part of it holds Python's interpreter, and whoever waits for that keeps the model from
its card. Tuned on an H100 with 16 cores at 1 megapixel: 149, 190, 192, 211, 250 ms an image of 200 instances with 2, 3,
4, 6, 16 at once, and 57, 47, 48, 45, 53 ms with 20."""


class Dropped(Exception):  # noqa: N818 - an answer
    """The item's shard is not wanted any more."""


class StageRunner:
    """Shared by the stages of one stream."""

    def __init__(self, watch: Watch, log: Log, *, cores: int) -> None:
        self.watch, self.log = watch, log
        self.closing = threading.Event()
        decode = threading.Semaphore(cores)
        # One for both where there are few cores: more threads than cores would only take turns.
        encode = decode if cores <= ENCODERS else threading.Semaphore(ENCODERS)
        self.gates: Mapping[str, threading.Semaphore] = {"decode": decode, "encode": encode}

    def attempt(self, in_flight: InFlightItem, stage: Callable[[InFlightItem], None]) -> None:
        """Do one stage's work on an item; whatever goes wrong becomes its outcome. Raises Abandoned."""
        try:
            stage(in_flight)
        except ItemError as error:
            self.fail(in_flight, error)
        except (Dropped, BudgetClosed):
            in_flight.release()
        except RefusedError as error:
            self.fail(in_flight, ItemError("internal_error", str(error)))
        except (StorageError, IsolatorError, ModelError) as error:
            in_flight.shard_run.fail(error)
            in_flight.release()
        except Abandoned:
            raise
        except Exception as error:
            self.fail(in_flight, self.unexpected(in_flight, error))

    def unexpected(self, in_flight: InFlightItem, error: Exception) -> ItemError:
        """The failure for an exception that no task means to raise; a bug is logged with its traceback."""
        if is_out_of_memory(error):
            return ItemError("out_of_memory", f"not enough memory: {error}")
        where = {"job": in_flight.shard_run.id.job, "shard": in_flight.shard_run.id.number, "item": in_flight.item.key}
        self.log.error("item_failed_unexpectedly", error, **where)
        return ItemError("internal_error", f"{type(error).__name__}: {error}")

    def fail(self, in_flight: InFlightItem, error: ItemError) -> None:
        """Settle an item as failed."""
        self.settle(in_flight, Failure.of(in_flight.item, code=error.code, message=error.message))

    def settle(self, in_flight: InFlightItem, outcome: Outcome) -> None:
        """Let go of the item and tell its run."""
        in_flight.release()
        in_flight.shard_run.settle(in_flight.index, outcome)

    def is_wanted(self, in_flight: InFlightItem) -> bool:
        return in_flight.shard_run.is_wanted and not self.closing.is_set()

    def require_wanted(self, in_flight: InFlightItem) -> None:
        """Raises Dropped where nobody wants the item any more."""
        if not self.is_wanted(in_flight):
            raise Dropped

    def working(self, stage: str, items: Sequence[InFlightItem]) -> Working:
        """A `with` block for one stage's work on these items. Raises Abandoned at its end if it took too long."""
        return Working(self, stage, items)


class Working:
    """One step of one stage: at most as many at once as its gate lets through, watched, journalled and timed."""

    __slots__ = ("_gate", "_items", "_stage", "_stage_runner", "_started", "_step")

    def __init__(self, stage_runner: StageRunner, stage: str, items: Sequence[InFlightItem]) -> None:
        self._stage_runner, self._stage, self._items = stage_runner, stage, items
        self._gate = stage_runner.gates.get(stage)

    def __enter__(self) -> None:
        if self._gate is not None:
            self._gate.acquire()
        self._step = self._stage_runner.watch.begin(self._stage, self._items)
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        seconds = seconds_since(self._started)
        self._stage_runner.watch.end(self._step)  # raises Abandoned; the gate has been passed on already then
        if self._gate is not None:
            self._gate.release()
        for in_flight in self._items:
            in_flight.seconds[self._stage] = round(seconds / len(self._items), 6)


def seconds_since(started: float) -> float:
    """Seconds since a `time.perf_counter()`, to the microsecond."""
    return round(time.perf_counter() - started, 6)
