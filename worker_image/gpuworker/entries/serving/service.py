"""What this process is doing: whether it is ready, and which shards and images are in work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any

from gpuworker.contract import Place, Shard, WorkerSettings
from gpuworker.entries.backlog import Backlog
from gpuworker.entries.message_handler import attempt, mark_dead
from gpuworker.entries.serving.answers import Answer, problem
from gpuworker.entries.serving.direct import DirectRun, Form, Image
from gpuworker.entries.serving.shards import ShardWork, Stop
from gpuworker.entries.setup import CLOSE_LOG_S, CLOSE_STREAM_S
from gpuworker.pipeline.journal import ShardId
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.process.log import Log
from gpuworker.process.threads import start_daemon

HEARTBEAT_S = 5.0


class State(StrEnum):
    """Of the process, in this order; it never goes back."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STUCK = "stuck"


_NOT_READY: Mapping[State, str] = {
    State.STARTING: "the model is being loaded",
    State.DRAINING: "this instance ends",
    State.STUCK: "the model does not return; this process ends",
}


class Service:
    """Made at once; `open` when the model is loaded. Its methods may be called from any thread."""

    def __init__(self, settings: WorkerSettings, log: Log, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.settings, self.log = settings, log
        self.state = State.STARTING
        self.options: Mapping[str, Any] = settings.task_options
        """Of the task, for images that come without a job."""
        self.in_work = 0
        """Requests that have not been answered; counted by the app's thread."""
        self._context: WorkerContext | None = None
        self._shards: dict[ShardId, ShardWork] = {}
        self._directs: set[DirectRun] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, settings.max_concurrency), thread_name_prefix="shard")
        self._heartbeat_s = heartbeat_s
        self._closing = threading.Event()

    def open(self, context: WorkerContext, options: Mapping[str, Any]) -> None:
        """The model is loaded: take requests from now on."""
        self._context, self.options, self.log = context, options, context.log
        start_daemon(self._heartbeat_loop, name="heartbeat")
        if self.state is State.STARTING:
            self.state = State.READY

    @property
    def context(self) -> WorkerContext:
        assert self._context is not None, "asked for before the service was ready"
        return self._context

    def not_ready(self) -> Answer | None:
        """Why no request can be taken now; None where one can."""
        if self.state is State.READY:
            return None
        return problem(503, self.state, _NOT_READY[self.state])

    # --- images ---

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """`options` with nothing made that the answer does not show, where the task knows how."""
        return dict(self.context.task.answer_options(options))

    def start_image(self, image: Image, form: Form, on_answer: Callable[[Answer], None]) -> DirectRun:
        """Give an image to the stream; `on_answer` is called once, from any thread."""
        shard_run: DirectRun

        def on_answered(answer: Answer) -> None:
            with self._lock:
                self._directs.discard(shard_run)
            on_answer(answer)

        shard_run = DirectRun(image, task=self.settings.task, form=form, on_answer=on_answered)
        with self._lock:
            self._directs.add(shard_run)
        self.context.stream.add(shard_run, [0])
        return shard_run

    # --- shards ---

    def take_shard(self, shard: Shard) -> ShardWork | None:
        """Note that this process works on a shard; None where it does already."""
        shard_id = ShardId.of(shard)
        with self._lock:
            if shard_id in self._shards:
                return None
            work = ShardWork(shard, self.context, timeout_s=self.settings.invocation_timeout_s)
            self._shards[shard_id] = work
            return work

    def run_shard(self, shard: Shard, work: ShardWork) -> Answer:
        """Work on what `take_shard` gave, to its end; for one of the threads of `threads`."""
        try:
            return work.run()
        finally:
            with self._lock:
                del self._shards[ShardId.of(shard)]

    @property
    def threads(self) -> ThreadPoolExecutor:
        """As many as there may be shards in work; others wait for one of them."""
        return self._threads

    def mark_dead(self, place: Place, reason: str) -> None:
        """No invocation will ever make this shard workable: end the wait for it."""
        mark_dead(self.context, place, reason)

    def _heartbeat_loop(self) -> None:
        backlog = Backlog(self.context.task, self.context.ledger, self.settings.pipeline)
        while not self._closing.wait(self._heartbeat_s):
            for work in self._works():
                attempt(self.log, "heartbeat", work.keep_alive)
            with self._lock:
                jobs = {shard_id.job for shard_id in self._shards}
            attempt(self.log, "backlog", lambda: backlog.look(jobs))  # noqa: B023 - called at once

    def _works(self) -> list[ShardWork]:
        with self._lock:
            return list(self._shards.values())

    # --- its end ---

    def tick(self) -> None:
        """Look after what is in work; to be called a few times a second."""
        for work in self._works():
            if work.is_overdue:
                work.stop(Stop.TIME_IS_UP)
        if self._context is not None and self._context.stream.stuck and self.state is not State.STUCK:
            self.state = State.STUCK
            self.log.error("worker_stuck", reason=self._context.stream.stuck)
            self.give_up(Stop.STUCK, problem(500, "timeout", self._context.stream.stuck))

    def give_up(self, reason: Stop, answer: Answer) -> None:
        """Have every shard given back and every image answered like this."""
        for work in self._works():
            work.stop(reason)
        with self._lock:
            directs = list(self._directs)
        for direct in directs:
            direct.give_up(answer)

    def drain(self) -> None:
        """Take nothing new; what is in work may end."""
        if self.state is not State.STUCK:
            self.state = State.DRAINING

    def close(self) -> None:
        """End all threads and send what is left of the log."""
        self._closing.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._context is not None:
            self._context.stream.close(CLOSE_STREAM_S)
            self._context.storage.close()
        self.log.close(CLOSE_LOG_S)
