"""Takes shards from the queue, keeps the stream fed and the shards it holds alive, gives them back when told to.

Threads: one receives, one for each shard, one tells SQS and the ledger that those shards are alive. Shards are taken
while fewer than two have items that the model has yet to take up: so the stages of neighbouring shards overlap, and no
machine hoards what another could do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum

from gpuworker.contract import Message, WorkerSettings
from gpuworker.entries.backlog import Backlog
from gpuworker.entries.delivery import Delivery, WorkQueue
from gpuworker.entries.message_handler import MessageHandler, attempt, give_up_foreign
from gpuworker.ledger import MachineState
from gpuworker.pipeline.journal import ShardId
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.process.log import Log

SHARDS_AWAITING_MODEL = 2
SHARDS_OPEN = 8
WAIT_FOR_MESSAGE_S = 3
"""Short, because a receive under way cannot be called off and ending waits for it; an idle hour costs $0.0005."""
HEARTBEAT_S = 5.0
MACHINE_SEEN_S = 60.0
GPU_SEEN_S = 15.0
"""Where there is a GPU, `watch` shows it as it is now; a write costs $0.00000125."""
GIVE_BACK_S = 6.0
"""For giving back, before the process ends anyway; SQS and the guard then notice by themselves."""
DUPLICATE_DELAY_S = 30
LONGEST_PAUSE_S = 60.0


class Reason(StrEnum):
    """Why a worker ended."""

    IDLE = "idle"
    HARD_LIMIT = "hard_limit"
    SIGNAL = "signal"
    SPOT = "spot"
    REBALANCE = "rebalance"
    STUCK = "stuck"


class Worker:
    """One run, from the first receive to the last shard given back."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        context: WorkerContext,
        queue: WorkQueue,
        on_tick: Callable[[], None] = lambda: None,
        heartbeat_s: float = HEARTBEAT_S,
        wait_for_message_s: int = WAIT_FOR_MESSAGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_tick` is called about every second while all is well, in the thread of `run`; it may call `stop`."""
        self.settings, self.context, self.queue = settings, context, queue
        self._on_tick, self._clock = on_tick, clock
        self._heartbeat_s = min(heartbeat_s, settings.visibility_timeout_s / 6)
        self._wait_for_message_s = wait_for_message_s
        self._held: dict[ShardId, MessageHandler] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._reason = Reason.SIGNAL
        self._last_work_at = 0.0
        self._machine_seen_at = float("-inf")
        self._backlog = Backlog(context.task, context.ledger, settings.pipeline)

    # --- the run ---

    def run(self) -> Reason:
        """Work until there is a reason to end; everything is given back then. Call once."""
        started_at = self._last_work_at = self._clock()
        self._start(self._receive_loop, name="receive")
        self._start(self._heartbeat_loop, name="heartbeat")
        while not self._stopping.wait(min(1.0, self._heartbeat_s)):
            self._on_tick()
            if reason := self._reason_to_end(started_at):
                self.stop(reason)
        self._log.info("worker_ends", reason=self._reason, holding=len(self._held))
        self._give_everything_back()
        return self._reason

    def stop(self, reason: Reason) -> None:
        """End soon; the first reason counts. Not for signal handlers: they may interrupt a holder of its lock."""
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()

    def _reason_to_end(self, started_at: float) -> Reason | None:
        now = self._clock()
        if self.context.stream.stuck:
            self._log.error("worker_stuck", reason=self.context.stream.stuck)
            return Reason.STUCK
        if now - started_at >= self.settings.max_processing_hours * 3600:
            return Reason.HARD_LIMIT
        if self._held:
            self._last_work_at = now
        return Reason.IDLE if now - self._last_work_at >= self.settings.idle_minutes * 60 else None

    def _give_everything_back(self) -> None:
        """Every shard's own thread gives it back; wait for them, but not for ever."""
        deadline = self._clock() + GIVE_BACK_S
        for handler in list(self._held.values()):
            handler.give_back(self._reason)
        if self._reason in (Reason.SPOT, Reason.REBALANCE):
            attempt(self._log, "machine_seen", lambda: self._machine_seen(state=MachineState.INTERRUPTED))
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - self._clock()))

    def _start(self, target: Callable[[], None], *, name: str) -> None:
        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    @property
    def _log(self) -> Log:
        return self.context.log

    # --- receiving ---

    def _receive_loop(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if not self._has_room():
                self._stopping.wait(0.05)
                continue
            try:
                delivery = self.queue.receive(wait_s=self._wait_for_message_s)
                if delivery is not None:
                    self._take(delivery)
                failures = 0
            except Exception as error:  # no credentials, no network, no queue: wait and try again, until idle
                failures += 1
                self._log.warning("receive_failed", error=f"{type(error).__name__}: {error}", attempt=failures)
                self._stopping.wait(min(2.0**failures, LONGEST_PAUSE_S))

    def _has_room(self) -> bool:
        held = list(self._held.values())
        return len(held) < SHARDS_OPEN and sum(handler.awaits_infer for handler in held) < SHARDS_AWAITING_MODEL

    def _take(self, delivery: Delivery) -> None:
        """Start a thread for a message, unless it is not wanted any more or its shard is in work already."""
        if self._stopping.is_set():
            attempt(self._log, "give_back", delivery.give_back)
            return
        try:
            message = Message.from_json(delivery.body)
        except Exception as error:  # ContractError, or what nobody has thought of: the next message is not at fault
            reason = str(error)
            attempt(self._log, "mark_dead", lambda: give_up_foreign(self.context, delivery, reason))
            return
        shard_id = ShardId.of(message)
        if shard_id in self._held:  # a duplicate: by the time it comes back, the shard is done
            attempt(self._log, "give_back", lambda: delivery.give_back(delay_s=DUPLICATE_DELAY_S))
            return
        handler = MessageHandler(message, delivery, self.context, task=self.settings.task)
        self._held[shard_id] = handler
        self._start(lambda: self._handle(shard_id, handler), name=f"shard-{message.number}")

    def _handle(self, shard_id: ShardId, handler: MessageHandler) -> None:
        try:
            if self._stopping.is_set():
                handler.give_back(self._reason)
            if handler.run() is not None:
                attempt(self._log, "machine_seen", lambda: self._machine_seen(shards=1))
        finally:
            self._last_work_at = self._clock()
            del self._held[shard_id]

    # --- being alive ---

    def _heartbeat_loop(self) -> None:
        while not self._stopping.wait(self._heartbeat_s):
            seen_s = GPU_SEEN_S if self.context.gauge.has_gpu else MACHINE_SEEN_S
            if self._clock() - self._machine_seen_at > seen_s:
                attempt(self._log, "machine_seen", self._machine_seen)
            for handler in list(self._held.values()):
                attempt(self._log, "heartbeat", handler.keep_alive)
            jobs = {shard_id.job for shard_id in list(self._held)}
            attempt(self._log, "backlog", lambda: self._backlog.look(jobs))  # noqa: B023 - called at once

    def _machine_seen(self, *, shards: int = 0, state: MachineState = MachineState.RUNNING) -> None:
        self._machine_seen_at = self._clock()
        self.context.ledger.machine_seen(
            self.settings.pipeline,
            self.context.machine,
            shards_committed=shards,
            state=state,
            gpu=self.context.gauge.take_fields(),
        )
