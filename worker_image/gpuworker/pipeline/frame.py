"""What every stage does around its own work: watch it, time it, and turn what goes wrong into outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from gpuworker.contract import Failure
from gpuworker.contract.items import ItemError
from gpuworker.models import ModelError
from gpuworker.pipeline.budget import BudgetClosed
from gpuworker.pipeline.feed import Outcome, Passage
from gpuworker.pipeline.isolation import IsolatorError
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


class Frame:
    """Shared by the stages of one stream."""

    def __init__(self, watch: Watch, log: Log, *, cores: int) -> None:
        self.watch, self.log = watch, log
        self.closing = threading.Event()
        decode = threading.Semaphore(cores)
        # One for both where there are few cores: more threads than cores would only take turns.
        encode = decode if cores <= ENCODERS else threading.Semaphore(ENCODERS)
        self.gates: Mapping[str, threading.Semaphore] = {"decode": decode, "encode": encode}

    def attempt(self, passage: Passage, stage: Callable[[Passage], None]) -> None:
        """Do one stage's work on an item; whatever goes wrong becomes its outcome. Raises Abandoned."""
        try:
            stage(passage)
        except ItemError as error:
            self.fail(passage, error)
        except (Dropped, BudgetClosed):
            passage.release()
        except RefusedError as error:
            self.fail(passage, ItemError("internal_error", str(error)))
        except (StorageError, IsolatorError, ModelError) as error:
            passage.feed.fail(error)
            passage.release()
        except Abandoned:
            raise
        except Exception as error:
            self.fail(passage, self.unexpected(passage, error))

    def unexpected(self, passage: Passage, error: Exception) -> ItemError:
        """The failure for an exception that no task means to raise; a bug is logged with its traceback."""
        if is_out_of_memory(error):
            return ItemError("out_of_memory", f"not enough memory: {error}")
        where = {"job": passage.feed.id.job, "shard": passage.feed.id.number, "item": passage.item.key}
        self.log.error("item_failed_unexpectedly", error, **where)
        return ItemError("internal_error", f"{type(error).__name__}: {error}")

    def fail(self, passage: Passage, error: ItemError) -> None:
        """Settle an item as failed."""
        self.settle(passage, Failure.of(passage.item, code=error.code, message=error.message))

    def settle(self, passage: Passage, outcome: Outcome) -> None:
        """Let go of the item and tell its feed."""
        passage.release()
        passage.feed.settle(passage.index, outcome)

    def is_wanted(self, passage: Passage) -> bool:
        return passage.feed.is_wanted and not self.closing.is_set()

    def require_wanted(self, passage: Passage) -> None:
        """Raises Dropped where nobody wants the item any more."""
        if not self.is_wanted(passage):
            raise Dropped

    def working(self, stage: str, passages: Sequence[Passage]) -> Working:
        """A `with` block for one stage's work on these items. Raises Abandoned at its end if it took too long."""
        return Working(self, stage, passages)


class Working:
    """One step of one stage: at most as many at once as its gate lets through, watched, journalled and timed."""

    __slots__ = ("_frame", "_gate", "_passages", "_stage", "_started", "_step")

    def __init__(self, frame: Frame, stage: str, passages: Sequence[Passage]) -> None:
        self._frame, self._stage, self._passages = frame, stage, passages
        self._gate = frame.gates.get(stage)

    def __enter__(self) -> None:
        if self._gate is not None:
            self._gate.acquire()
        self._step = self._frame.watch.begin(self._stage, self._passages)
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        seconds = seconds_since(self._started)
        self._frame.watch.end(self._step)  # raises Abandoned; the gate has been passed on already then
        if self._gate is not None:
            self._gate.release()
        for passage in self._passages:
            passage.seconds[self._stage] = round(seconds / len(self._passages), 6)


def seconds_since(started: float) -> float:
    """Seconds since a `time.perf_counter()`, to the microsecond."""
    return round(time.perf_counter() - started, 6)
