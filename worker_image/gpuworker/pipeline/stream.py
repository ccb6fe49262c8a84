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
from gpuworker.pipeline.feed import Content, Feed, Passage
from gpuworker.pipeline.frame import Frame, seconds_since
from gpuworker.pipeline.inference import Inference
from gpuworker.pipeline.isolation import Isolator
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.spool import Spool
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

Queue = SimpleQueue[Passage | None]


class Stream:
    """Runs from its making to `close`. `add` feeds it; outcomes arrive in the feed."""

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
        self._frame = Frame(self._watch, log, cores=self._cores)
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
        self.inference = Inference(task, self._frame, on_taken=self._ahead.release, on_result=self._hand_on)
        self._stages: dict[str, tuple[int, Queue, Callable[[], None]]] = {
            "decode": (DOWNLOADERS, self._inbox, lambda: self._serve(self._inbox, self._prepare)),
            "infer": (task.infer_threads, self.inference.ready, self.inference.loop),
            "encode": (UPLOADERS, self._finishing, lambda: self._serve(self._finishing, self._finish)),
            "alone": (1, self._suspects, lambda: self._serve(self._suspects, self._isolated)),
            "watch": (1, Queue(), self._watch_loop),
        }
        self._threads: dict[str, list[threading.Thread]] = {stage: [] for stage in self._stages}
        for stage, (threads, _, _) in self._stages.items():
            for _ in range(threads):
                self._spawn(stage)

    def _spawn(self, stage: str) -> None:
        thread = threading.Thread(target=self._live, args=(stage,), name=f"stream-{stage}", daemon=True)
        with self._spawning:  # `close` counts and joins threads, while one may be replaced that hangs
            if not self._frame.closing.is_set():
                self._threads[stage].append(thread)
                thread.start()

    def _live(self, stage: str) -> None:
        try:
            self._stages[stage][2]()
        except Exception as error:  # a bug of ours; without this its items would be waited for without end
            self._log.error("stream_thread_died", error, stage=stage)
            self.stuck = f"a thread of {stage} died: {type(error).__name__}: {error}"

    def add(self, feed: Feed, indices: Sequence[int], *, alone: Collection[int] = ()) -> None:
        """Take in items of a feed's shard; those in `alone` are worked on in a process of their own."""
        for index in indices:
            passage = Passage(feed=feed, index=index, item=feed.shard.items[index])
            (self._suspects if index in alone else self._inbox).put(passage)

    def close(self, timeout_s: float) -> bool:
        """Drop what is in flight and end all threads; False where some did not end in time (a step hangs)."""
        deadline = time.monotonic() + timeout_s
        with self._spawning:
            self._frame.closing.set()
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

    def _serve(self, queue: Queue, stage: Callable[[Passage], None]) -> None:
        """Do one stage's work for whatever comes, until told to end."""
        if self._task.infer_threads < self._cores:  # a model that does not compute on all of the cores
            let_model_go_first()
        for passage in iter(queue.get, None):
            try:
                self._frame.attempt(passage, stage)
            except Abandoned:
                return

    # --- download and decode ---

    def _prepare(self, passage: Passage) -> None:
        self._ahead.acquire()
        try:
            content = self._content(passage)
            self._decode(passage, content)
        except BaseException:
            self._ahead.release()
            raise
        self.inference.ready.put(passage)

    def _content(self, passage: Passage) -> Content:
        """A value is there; an object is downloaded. Raises ItemError for what the task does not take."""
        item = passage.item
        if item.kind not in self._task.takes:
            raise ItemError("unsuitable", f"this is {_WORDS[item.kind]}, and the task takes none")
        if item.value is None:
            return self._download(passage)
        self._frame.require_wanted(passage)
        passage.reservation = self.budget.admit(item.size)
        return copy.deepcopy(dict(item.value))  # the task's own: the commit has to hold what was asked

    def _download(self, passage: Passage) -> bytes | Path:
        item = passage.item
        self._frame.require_wanted(passage)
        if self._spool is not None and passage.feed.gives_files and item.size > self._spool.from_bytes:
            passage.spooled = self._spool.reserve(item.size)
        passage.reservation = self.budget.admit(min(item.size, INTO_A_FILE_BYTES) if passage.spooled else item.size)
        self._frame.require_wanted(passage)
        started = time.perf_counter()
        data = self._fetched(passage)
        if isinstance(data, Path):
            passage.reservation.correct(0)
        elif not item.size:  # not known before
            passage.reservation.correct(len(data))
        passage.seconds["download"] = seconds_since(started)
        self._frame.require_wanted(passage)
        return data

    def _fetched(self, passage: Passage) -> bytes | Path:
        if passage.spooled is None:
            return passage.feed.fetch(passage.item, self._storage)
        passage.feed.fetch_file(passage.item, self._storage, passage.spooled.path)
        return passage.spooled.path

    def _decode(self, passage: Passage, content: Content) -> None:
        assert passage.reservation is not None
        passage.reservation.grow(self._expected_bytes(content, passage))
        with self._frame.working("decode", [passage]):
            decoded = self._task.decode(content, passage.source, passage.feed.shard.options)
        if passage.item.value is None:  # a prompt of 20 bytes that becomes megabytes says nothing of files
            self._ratio = max(self._ratio * 0.98, decoded.cost_bytes / max(1, _size(content, passage.item)))
        passage.reservation.correct(decoded.cost_bytes)
        passage.decoded = replace(decoded, is_wanted=lambda: self._frame.is_wanted(passage))
        if decoded.units > 1:
            passage.feed.large[passage.index] = passage.decoded

    def _expected_bytes(self, content: Content, passage: Passage) -> int:
        """What decoding will hold: as the task reads it from the header, else as the last items had it."""
        from_header = self._task.decoded_bytes(content, passage.source, passage.feed.shard.options)
        return int(_size(content, passage.item) * self._ratio) if from_header is None else from_header

    # --- encode and upload ---

    def _hand_on(self, passage: Passage) -> None:
        self._behind.acquire()
        self._finishing.put(passage)

    def _finish(self, passage: Passage) -> None:
        try:
            self._finish_wanted(passage)
        finally:
            self._behind.release()

    def _finish_wanted(self, passage: Passage) -> None:
        self._frame.require_wanted(passage)
        encoded = passage.encoded or self._encode(passage)
        assert passage.reservation is not None
        passage.let_go()
        passage.reservation.correct(sum(len(file.data) for file in encoded.files.values()))
        self._frame.require_wanted(passage)
        started = time.perf_counter()
        record_name, seconds = self._task.record_name, passage.seconds
        outcome = passage.feed.deliver(passage.item, encoded, self._storage, record_name=record_name, seconds=seconds)
        seconds["upload"] = seconds_since(started)  # the outcome holds this very mapping
        self._frame.settle(passage, outcome)

    def _encode(self, passage: Passage) -> Encoded:
        assert passage.decoded is not None
        with self._frame.working("encode", [passage]):
            return self._task.encode(passage.decoded, passage.result, passage.feed.shard.options)

    # --- suspects ---

    def _isolated(self, passage: Passage) -> None:
        """Have a suspect worked on in the child process, from bytes to files."""
        content = self._content(passage)
        passage.feed.at_infer(passage.index)
        started = time.perf_counter()
        passage.encoded = self._alone(passage, content)
        passage.seconds["infer"] = seconds_since(started)
        self._hand_on(passage)

    def _alone(self, passage: Passage, content: Content) -> Encoded:
        source, options = passage.source, passage.feed.shard.options
        try:
            return self._isolator.run(content, source, options, is_wanted=lambda: self._frame.is_wanted(passage))
        except ItemError:
            self._frame.require_wanted(passage)
            raise

    # --- steps that never end ---

    def _watch_loop(self) -> None:
        while not self._frame.closing.wait(min(0.5, self._item_timeout_s / 4)):
            self._isolator.end_if_idle()
            for step in self._watch.abandon_overdue():
                self._give_up(step)

    def _give_up(self, step: Step) -> None:
        """No thread can be ended: the item fails and another thread takes this one's place. Not so the model, of which
        there is only one, nor when several hang: then the process has to end, and its journal tells what of."""
        items = [passage.item.key for passage in step.passages]
        self._log.error("step_timed_out", stage=step.stage, items=items, limit_s=self._item_timeout_s)
        self._hung += 1
        if gate := self._frame.gates.get(step.stage):
            gate.release()
        if step.stage == "infer" or self._hung > HUNG_THREADS_AT_MOST:
            self.stuck = (
                f"{step.stage} of {', '.join(items)} did not end within {self._item_timeout_s:g} s an item; "
                f"{self._item_limit} raises the limit"
            )
            return
        for passage in step.passages:
            self._frame.fail(passage, _timed_out(step.stage, self._item_timeout_s * step.units, self._item_limit))
        self._spawn(step.stage)


def _size(content: Content, item: Item) -> int:
    """Bytes; a downloaded object is as large as it is, whatever its item says."""
    if isinstance(content, Path):
        return content.stat().st_size
    return len(content) if isinstance(content, bytes) else item.size


def _timed_out(stage: str, limit_s: float, setting: str) -> ItemError:
    return ItemError("timeout", f"{stage} took longer than {limit_s:g} s; {setting} raises the limit")
