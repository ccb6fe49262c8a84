"""The model's thread: takes whatever is ready, in batches; waits when nothing is, and shortly for a batch to fill."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from gpuworker.contract.items import ItemError
from gpuworker.pipeline.shard_run import InFlightItem
from gpuworker.pipeline.stage_runner import StageRunner
from gpuworker.pipeline.watch import Abandoned
from gpuworker.process.batch_limit import BatchLimit
from gpuworker.process.memory import free_cached, is_device_lost, is_out_of_memory
from gpuworker.tasks.base import Task

SHORTEST_WAIT = 1 / 32
"""Of the longest wait: so far it shrinks while waiting brings nothing."""


class DeviceLostError(Exception):
    """The GPU does nothing more for this process, which has to end; whichever item was at fault."""


@dataclass(kw_only=True)
class Patience:
    """How long a batch that is not full waits for items on their way: at most `longest_s` in all.

    Where items come more slowly than that, waiting only delays those that are there: each wait in vain halves the next
    one, and a batch that got full, by waiting or without, brings all of it back.
    """

    longest_s: float

    def __post_init__(self) -> None:
        self.wait_s = self.longest_s

    def restore(self) -> None:
        self.wait_s = self.longest_s

    def halve(self) -> None:
        self.wait_s = max(self.longest_s * SHORTEST_WAIT, self.wait_s / 2)


class Inference:
    """Items enter through `ready`; `on_taken` hears of each that leaves it, `on_result` gets those with a result."""

    def __init__(
        self,
        task: Task,
        stage_runner: StageRunner,
        *,
        on_taken: Callable[[], None],
        on_result: Callable[[InFlightItem], None],
    ) -> None:
        self._task, self._stage_runner = task, stage_runner
        self._on_taken, self._on_result = on_taken, on_result
        self.ready: SimpleQueue[InFlightItem | None] = SimpleQueue()
        self.idle_s = 0.0
        """How long the model waited for items, summed over its threads."""
        self._patience = Patience(longest_s=task.batch_wait_s)
        self._gathering = threading.Lock()
        """Held while a batch gathers: two threads that gather at once would make two half-full ones of it."""
        self._limit = BatchLimit(task.batch_size)

    def loop(self) -> None:
        """What each of the model's threads does, until it takes None from `ready`. Raises DeviceLostError."""
        batch, following = self._next_batch(None)
        while batch:
            try:
                self._infer_wanted(batch)
            except Abandoned:
                return
            batch.clear()  # or its pixels would be held while waiting for the next
            batch, following = self._next_batch(following)

    def _next_batch(self, first: InFlightItem | None) -> tuple[list[InFlightItem], InFlightItem | None]:
        """A batch that begins with `first` or, where there is none, with what is ready next; empty at the end."""
        started = time.perf_counter()
        with self._gathering:
            self.idle_s += time.perf_counter() - started
            first = first or self._next_ready()
            return self._batch_from(first) if first is not None else ([], None)

    def _next_ready(self) -> InFlightItem | None:
        started = time.perf_counter()
        in_flight = self.ready.get()
        self.idle_s += time.perf_counter() - started
        return self._take_up(in_flight)

    def _take_up(self, in_flight: InFlightItem | None) -> InFlightItem | None:
        if in_flight is not None:
            self._on_taken()
            in_flight.shard_run.at_infer(in_flight.index)
        return in_flight

    def _batch_from(self, first: InFlightItem) -> tuple[list[InFlightItem], InFlightItem | None]:
        """What is ready, or will be in a moment, and may share a batch with `first`; and the first that may not."""
        batch = [first]
        deadline = time.perf_counter() + self._patience.wait_s
        while len(batch) < self._limit.now:
            try:
                in_flight = self._take_up(self._ready_by(deadline, batch))
            except Empty:
                return batch, None
            if in_flight is None:
                self.ready.put(None)
                return batch, None
            if in_flight.shard_run.batch_key != first.shard_run.batch_key:
                return batch, in_flight
            batch.append(in_flight)
        self._patience.restore()
        return batch, None

    def _ready_by(self, deadline: float, batch: Sequence[InFlightItem]) -> InFlightItem | None:
        """The next item, waited for only while there is one on its way. Raises Empty."""
        try:
            return self.ready.get_nowait()
        except Empty:
            started = time.perf_counter()
            if started >= deadline or not any(in_flight.shard_run.awaiting_infer for in_flight in batch):
                raise
        try:
            return self.ready.get(timeout=deadline - started)
        except Empty:
            self._patience.halve()
            raise
        finally:
            self.idle_s += time.perf_counter() - started

    def _infer_wanted(self, batch: Sequence[InFlightItem]) -> None:
        wanted = [in_flight for in_flight in batch if self._stage_runner.is_wanted(in_flight)]
        for in_flight in batch:
            if in_flight not in wanted:
                in_flight.release()
        if wanted:
            self._infer(wanted)

    def _infer(self, batch: Sequence[InFlightItem]) -> None:
        """Run the model; where that fails, on ever smaller halves, so that one bad item fails alone."""
        problem = self._run(batch)
        if problem is None:
            return
        if problem.code == "out_of_memory":
            free_cached()
            if len(batch) > 1:
                self._limit.did_not_fit(len(batch))
                self._stage_runner.log.warning("batch_halved", items=len(batch), reason=problem.message)
        if len(batch) == 1:
            self._stage_runner.fail(batch[0], problem)
            return
        half = len(batch) // 2
        self._infer(batch[:half])
        self._infer(batch[half:])

    def _run(self, batch: Sequence[InFlightItem]) -> ItemError | None:
        """Run the model and pass results on; or what went wrong, as words: a traceback would hold the memory."""
        decoded = [in_flight.decoded for in_flight in batch if in_flight.decoded is not None]
        try:
            with self._stage_runner.working("infer", batch):
                results = self._task.run(decoded, batch[0].shard_run.shard.options)
            self._pass_on(batch, results)
        except Abandoned:
            raise
        except ItemError as error:
            return ItemError(error.code, error.message)
        except Exception as error:
            if is_device_lost(error):
                # Not every item of every shard fails for it: the next process works on these alone.
                self._stage_runner.watch.suspect(batch)
                raise DeviceLostError(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
            if len(batch) == 1:
                return self._stage_runner.unexpected(batch[0], error)
            return ItemError("out_of_memory" if is_out_of_memory(error) else "internal_error", str(error))
        return None

    def _pass_on(self, batch: Sequence[InFlightItem], results: Sequence[Any]) -> None:
        if len(results) != len(batch):
            raise RuntimeError(f"the task returned {len(results)} results for {len(batch)} items")
        for in_flight, result in zip(batch, results, strict=True):
            if isinstance(result, ItemError):
                self._stage_runner.fail(in_flight, result)
            else:
                in_flight.result = result
                self._on_result(in_flight)
        self._limit.fitted()
