"""download -> decode -> infer -> encode -> upload, overlapped, for the items of any number of shards at once.

Three groups of threads hand items to each other: one downloads and decodes, one runs the model, one encodes and
uploads; a fourth thread takes suspects to a process of their own. Few hand-overs, because at 200 images a second every
switch between threads counts. One byte budget bounds everything in flight; the model waits only when nothing is ready.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from gpuworker.contract import InputKind, Item
from gpuworker.contract.items import ItemError
from gpuworker.pipeline.budget import ByteBudget
from gpuworker.pipeline.inference import Inference
from gpuworker.pipeline.isolation import Isolator
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.shard_run import Content, InFlightItem, ShardRun
from gpuworker.pipeline.spool import Spool
from gpuworker.pipeline.stage_runner import StageRunner, seconds_since
from gpuworker.pipeline.watch import Abandoned, Step, Watch
from gpuworker.process.log import Log
from gpuworker.process.memory import budget_bytes
from gpuworker.process.thread_priority import let_model_go_first
from gpuworker.storage.objects import INTO_A_FILE_BYTES, Storage
from gpuworker.tasks.base import Encoded, Task

DOWNLOADERS, UPLOADERS = 24, 32
"""Enough for 200 items a second when S3 takes 60 ms a call, one read and two writes an item."""
READY_AT_LEAST = 32
"""Items that may be ahead of the model, if the byte budget allows: enough to ride out a slow download."""
BEHIND_AT_MOST = 96
"""Items that may be behind the model: more than are ever on their way to S3, so only encoding that cannot keep up
makes the model wait, and then memory does not fill with pictures for nothing."""
HUNG_THREADS_AT_MOST = 2
FIRST_RATIO = 12.0
"""Decoded bytes a stored byte, before the first item has told better; JPEG photographs have 5 to 15."""

_WORDS: Mapping[InputKind, str] = {"object": "a file", "value": "a value (JSON that came with the job)"}

Queue = SimpleQueue[InFlightItem | None]


class Stream:
    """Runs from its making to `close`. `add` takes in a shard's run, which its outcomes arrive in."""

    def __init__(
        self,
        task: Task,
        storage: Storage,
        *,
        journal: Journal,
        isolator: Isolator,
        log: Log,
        item_timeout_s: float,
        item_limit: str = "item_timeout_s",
        budget: ByteBudget | None = None,
        spool: Spool | None = None,
        cores: int | None = None,
    ) -> None:
        """`item_limit`: the setting that people know an item's time by.

        `spool`: where inputs go that are too large for memory, if the task takes files.
        """
        self._task, self._storage, self._isolator, self._log = task, storage, isolator, log
        self._item_timeout_s, self._item_limit = item_timeout_s, item_limit
        self._watch = Watch(journal, item_timeout_s=item_timeout_s)
        self._cores = cores or os.cpu_count() or 1
        self._stage_runner = StageRunner(self._watch, log, cores=self._cores)
        self.budget = budget or ByteBudget(budget_bytes())
        task.use_memory(self.budget.limit_bytes)
        self.stuck = ""
        """Why this process cannot go on (the model does not return) and has to end; "" while all is well."""
        self._spool = spool if task.takes_files else None
        self._ratio = FIRST_RATIO
        self._hung = 0
        self._spawning = threading.Lock()
        self._ahead = threading.Semaphore(max(READY_AT_LEAST, 4 * task.batch_size * task.infer_threads))
        self._behind = threading.Semaphore(BEHIND_AT_MOST)
        self._inbox, self._finishing, self._suspects = Queue(), Queue(), Queue()
        self.inference = Inference(task, self._stage_runner, on_taken=self._ahead.release, on_result=self._hand_on)
        self._stages: dict[str, tuple[int, Queue, Callable[[], None]]] = {
            "decode": (DOWNLOADERS, self._inbox, lambda: self._serve(self._inbox, self._prepare)),
            "infer": (task.infer_threads, self.inference.ready, self.inference.loop),
            "encode": (UPLOADERS, self._finishing, lambda: self._serve(self._finishing, self._finish)),
            "alone": (1, self._suspects, lambda: self._serve(self._suspects, self._run_alone)),
            "watch": (1, Queue(), self._watch_loop),
        }
        self._threads: dict[str, list[threading.Thread]] = {stage: [] for stage in self._stages}
        for stage, (threads, _, _) in self._stages.items():
            for _ in range(threads):
                self._spawn(stage)

    def _spawn(self, stage: str) -> None:
        thread = threading.Thread(target=self._live, args=(stage,), name=f"stream-{stage}", daemon=True)
        with self._spawning:  # `close` counts and joins threads, while one may be replaced that hangs
            if not self._stage_runner.closing.is_set():
                self._threads[stage].append(thread)
                thread.start()

    def _live(self, stage: str) -> None:
        try:
            self._stages[stage][2]()
        except Exception as error:  # a bug of ours; without this its items would be waited for without end
            self._log.error("stream_thread_died", error, stage=stage)
            self.stuck = f"a thread of {stage} died: {type(error).__name__}: {error}"

    def add(self, shard_run: ShardRun, indices: Sequence[int], *, alone: Collection[int] = ()) -> None:
        """Take in items of a run's shard; those in `alone` are worked on in a process of their own."""
        for index in indices:
            in_flight = InFlightItem(shard_run=shard_run, index=index, item=shard_run.shard.items[index])
            (self._suspects if index in alone else self._inbox).put(in_flight)

    def close(self, timeout_s: float) -> bool:
        """Drop what is in flight and end all threads; False where some did not end in time (a step hangs)."""
        deadline = time.monotonic() + timeout_s
        with self._spawning:
            self._stage_runner.closing.set()
        self.budget.close()
        if self._spool is not None:
            self._spool.close()
        self._isolator.close()
        for stage, (_, queue, _) in self._stages.items():
            for _ in self._threads[stage]:
                queue.put(None)
            for thread in self._threads[stage]:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for threads in self._threads.values() for thread in threads)

    def _serve(self, queue: Queue, stage: Callable[[InFlightItem], None]) -> None:
        """Do one stage's work for whatever comes, until told to end."""
        if self._task.infer_threads < self._cores:  # a model that does not compute on all of the cores
            let_model_go_first()
        for in_flight in iter(queue.get, None):
            try:
                self._stage_runner.attempt(in_flight, stage)
            except Abandoned:
                return

    # --- download and decode ---

    def _prepare(self, in_flight: InFlightItem) -> None:
        self._ahead.acquire()
        try:
            content = self._content(in_flight)
            self._decode(in_flight, content)
        except BaseException:
            self._ahead.release()
            raise
        self.inference.ready.put(in_flight)

    def _content(self, in_flight: InFlightItem) -> Content:
        """A value is there; an object is downloaded. Raises ItemError for what the task does not take."""
        item = in_flight.item
        if item.kind not in self._task.takes:
            raise ItemError("unsuitable", f"this is {_WORDS[item.kind]}, and the task takes none")
        if item.value is None:
            return self._download(in_flight)
        self._stage_runner.require_wanted(in_flight)
        in_flight.reservation = self.budget.admit(item.size)
        return copy.deepcopy(dict(item.value))  # the task's own: the commit has to hold what was asked

    def _download(self, in_flight: InFlightItem) -> bytes | Path:
        item = in_flight.item
        self._stage_runner.require_wanted(in_flight)
        if self._spool is not None and in_flight.shard_run.gives_files and item.size > self._spool.from_bytes:
            in_flight.spooled = self._spool.reserve(item.size)
        in_flight.reservation = self.budget.admit(min(item.size, INTO_A_FILE_BYTES) if in_flight.spooled else item.size)
        self._stage_runner.require_wanted(in_flight)
        started = time.perf_counter()
        data = self._fetch(in_flight)
        if isinstance(data, Path):
            in_flight.reservation.correct(0)
        elif not item.size:  # not known before
            in_flight.reservation.correct(len(data))
        in_flight.seconds["download"] = seconds_since(started)
        self._stage_runner.require_wanted(in_flight)
        return data

    def _fetch(self, in_flight: InFlightItem) -> bytes | Path:
        if in_flight.spooled is None:
            return in_flight.shard_run.fetch(in_flight.item, self._storage)
        in_flight.shard_run.fetch_file(in_flight.item, self._storage, in_flight.spooled.path)
        return in_flight.spooled.path

    def _decode(self, in_flight: InFlightItem, content: Content) -> None:
        assert in_flight.reservation is not None
        in_flight.reservation.grow(self._expected_bytes(content, in_flight))
        with self._stage_runner.working("decode", [in_flight]):
            decoded = self._task.decode(content, in_flight.source, in_flight.shard_run.shard.options)
        if in_flight.item.value is None:  # a prompt of 20 bytes that becomes megabytes says nothing of files
            self._ratio = max(self._ratio * 0.98, decoded.cost_bytes / max(1, _size(content, in_flight.item)))
        in_flight.reservation.correct(decoded.cost_bytes)
        in_flight.decoded = replace(decoded, is_wanted=lambda: self._stage_runner.is_wanted(in_flight))
        if decoded.weight > 1:
            in_flight.shard_run.large[in_flight.index] = in_flight.decoded

    def _expected_bytes(self, content: Content, in_flight: InFlightItem) -> int:
        """What decoding will hold: as the task reads it from the header, else as the last items had it."""
        from_header = self._task.decoded_bytes(content, in_flight.source, in_flight.shard_run.shard.options)
        return int(_size(content, in_flight.item) * self._ratio) if from_header is None else from_header

    # --- encode and upload ---

    def _hand_on(self, in_flight: InFlightItem) -> None:
        self._behind.acquire()
        self._finishing.put(in_flight)

    def _finish(self, in_flight: InFlightItem) -> None:
        try:
            self._finish_wanted(in_flight)
        finally:
            self._behind.release()

    def _finish_wanted(self, in_flight: InFlightItem) -> None:
        self._stage_runner.require_wanted(in_flight)
        encoded = in_flight.encoded or self._encode(in_flight)
        assert in_flight.reservation is not None
        in_flight.let_go()
        in_flight.reservation.correct(sum(len(file.data) for file in encoded.files.values()))
        self._stage_runner.require_wanted(in_flight)
        started = time.perf_counter()
        record_name, seconds = self._task.record_name, in_flight.seconds
        outcome = in_flight.shard_run.deliver(
            in_flight.item, encoded, self._storage, record_name=record_name, seconds=seconds
        )
        seconds["upload"] = seconds_since(started)  # the outcome holds this very mapping
        self._stage_runner.settle(in_flight, outcome)

    def _encode(self, in_flight: InFlightItem) -> Encoded:
        assert in_flight.decoded is not None
        with self._stage_runner.working("encode", [in_flight]):
            return self._task.encode(in_flight.decoded, in_flight.result, in_flight.shard_run.shard.options)

    # --- suspects ---

    def _run_alone(self, in_flight: InFlightItem) -> None:
        """Have a suspect worked on in the child process, from bytes to files."""
        content = self._content(in_flight)
        in_flight.shard_run.at_infer(in_flight.index)
        started = time.perf_counter()
        in_flight.encoded = self._alone(in_flight, content)
        in_flight.seconds["infer"] = seconds_since(started)
        self._hand_on(in_flight)

    def _alone(self, in_flight: InFlightItem, content: Content) -> Encoded:
        source, options = in_flight.source, in_flight.shard_run.shard.options
        try:
            return self._isolator.run(
                content, source, options, is_wanted=lambda: self._stage_runner.is_wanted(in_flight)
            )
        except ItemError:
            self._stage_runner.require_wanted(in_flight)
            raise

    # --- steps that never end ---

    def _watch_loop(self) -> None:
        while not self._stage_runner.closing.wait(min(0.5, self._item_timeout_s / 4)):
            self._isolator.end_if_idle()
            for step in self._watch.abandon_overdue():
                self._give_up(step)

    def _give_up(self, step: Step) -> None:
        """No thread can be ended: the item fails and another thread takes this one's place. Not so the model, of which
        there is only one, nor when several hang: then the process has to end, and its journal tells what of."""
        items = [in_flight.item.key for in_flight in step.items]
        self._log.error("step_timed_out", stage=step.stage, items=items, limit_s=self._item_timeout_s)
        self._hung += 1
        if gate := self._stage_runner.gates.get(step.stage):
            gate.release()
        if step.stage == "infer" or self._hung > HUNG_THREADS_AT_MOST:
            self.stuck = (
                f"{step.stage} of {', '.join(items)} did not end within {self._item_timeout_s:g} s an item; "
                f"{self._item_limit} raises the limit"
            )
            return
        for in_flight in step.items:
            self._stage_runner.fail(
                in_flight, _timed_out(step.stage, self._item_timeout_s * step.weight, self._item_limit)
            )
        self._spawn(step.stage)


def _size(content: Content, item: Item) -> int:
    """Bytes; a downloaded object is as large as it is, whatever its item says."""
    if isinstance(content, Path):
        return content.stat().st_size
    return len(content) if isinstance(content, bytes) else item.size


def _timed_out(stage: str, limit_s: float, setting: str) -> ItemError:
    return ItemError("timeout", f"{stage} took longer than {limit_s:g} s; {setting} raises the limit")
