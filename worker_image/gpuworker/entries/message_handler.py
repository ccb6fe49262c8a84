"""One message from its receive to its end: worked on, dropped, given back, or its shard declared dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gpuworker.contract import (
    MESSAGE_BYTES,
    ContractError,
    Message,
    Place,
    Shard,
    ShardResult,
    read_json,
    read_shard,
    result_key,
)
from gpuworker.entries.delivery import Delivery
from gpuworker.ledger import ShardRecord
from gpuworker.pipeline.runner import WorkerContext, run_shard
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.process.log import Log
from gpuworker.storage.objects import StorageError
from gpuworker.tasks.base import Task

LATER_S = 30
BODY_SHOWN = 1000
"""Characters of a foreign message in the log."""
LONGEST_RETRY_DELAY_S = 600
GIVE_BACK_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""An emulator is back within 3 s on idle cores and was within 25 s on two that eight processes shared."""


class MessageHandler:
    """A shard this worker holds. `run` in a thread of its own; `keep_alive` and `give_back` from others."""

    def __init__(
        self,
        message: Message,
        delivery: Delivery,
        context: WorkerContext,
        *,
        task: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.message, self._delivery, self._context, self._task = message, delivery, context, task
        self._place = message.place
        self._log = context.log.bind(job=message.job, shard=message.number, generation=message.generation)
        self._sleep = sleep
        self._shard_run: ShardRun | None = None
        self._lost = False
        self._given_back_for = ""
        self._extended_at = delivery.received_at
        self._lock = threading.Lock()

    @property
    def awaits_infer(self) -> bool:
        """Does it have items that the model has yet to take up?"""
        return self._shard_run is None or self._shard_run.awaiting_infer > 0

    # --- its own thread ---

    def run(self) -> ShardResult | None:
        """Work on it to its end; None where it did not come to a commit. Never raises."""
        try:
            return self._process()
        except Exception as error:
            self._log.error("shard_failed", error, receives=self._delivery.receives)
            reason = f"{type(error).__name__}: {error}"
            attempt(self._log, "give_back", lambda: self._tell_failed(reason))
            return None

    def _process(self) -> ShardResult | None:
        record = self._context.ledger.job(self.message.job)
        if record is not None and record.pipeline != self._context.pipeline:
            self._log.error("foreign_shard", of=record.pipeline)
            self._delivery.give_back(delay_s=LATER_S)  # until SQS moves it to the dead-letter queue
            return None
        # A dead worker's message comes back two thirds of the timeout after its last sign of life, or later.
        alive_s = self._delivery.queue.visibility_timeout_s / 2
        row = self._context.ledger.start_shard(*self._place, self._context.machine, alive_s=alive_s)
        if row is None:
            self._drop()
            return None
        try:
            shard = self._read_shard(project=record.project if record else "")
            attempt(self._log, "extend", self._delivery.extend)
            result = self._run_shard(shard, row)
        except ContractError as error:  # of the shard, or of what lies in the place of its commit
            mark_dead(self._context, self._place, str(error))
            self._delivery.delete()
            return None
        if result is None:
            self._end_cancelled()
            return None
        self._delivery.delete()
        done, failed = len(result.items), len(result.failures)
        self._log.info("shard_done", done=done, failed=failed, engine=result.made_by, seconds=result.timings)
        return result

    def _read_shard(self, *, project: str) -> Shard:
        """Raises ContractError for a shard that no receive will ever make workable."""
        key = self.message.key
        found = self._context.storage.read(key)
        if found is None:
            raise ContractError(f"{key} is missing")
        shard = read_shard(found.data, place=self._place, pipeline=self._context.pipeline, project=project)
        require_task(shard, self._task, self._context.task)
        return shard

    def _run_shard(self, shard: Shard, row: ShardRecord) -> ShardResult | None:
        with self._lock:
            self._shard_run = ShardRun(shard)
            if self._given_back_for:
                self._shard_run.cancel()
        receives = self._delivery.receives
        self._log.info("shard_started", items=len(shard.items), started=row.started, receives=receives)
        return run_shard(
            shard, context=self._context, shard_run=self._shard_run, started=row.started, redelivered=receives > 1
        )

    def _drop(self) -> None:
        """The ledger says that there is nothing to do: the message goes, unless it only came before its row, or is a
        second copy beside a living worker's, which is kept for the case that this worker dies."""
        row = self._context.ledger.shard(self.message.job, self.message.number)
        if row is None or row.generation < self.message.generation:
            self._log.warning("shard_not_registered")
            self._delivery.give_back(delay_s=LATER_S)
            return
        if row.is_open and row.generation == self.message.generation:
            self._log.info("shard_is_elsewhere", with_machine=row.machine)
            self._delivery.give_back(delay_s=LATER_S)
            return
        self._log.info("message_dropped", state=row.state, generation_now=row.generation)
        self._delivery.delete()

    def _end_cancelled(self) -> None:
        """The run was cancelled: because the shard is not ours any more, or because it is given back."""
        if self._lost:
            self._let_go()
            return
        self._release(blame=self._context.stream.stuck != "")
        self._delivery.give_back_unblamed()
        finished = self._shard_run.progress if self._shard_run else 0
        self._log.info("shard_given_back", reason=self._given_back_for, finished=finished)

    def _let_go(self) -> None:
        row = self._context.ledger.shard(self.message.job, self.message.number)
        self._log.info("shard_lost", state=row.state if row else "missing")
        if row is None or not row.is_open or row.generation > self.message.generation:
            self._delivery.delete()
        else:  # another machine has it, and maybe this very message
            self._delivery.leave()

    def _tell_failed(self, reason: str) -> None:
        """`_give_up_or_retry`, tried again for a minute while nobody answers: what stopped the work, a network that is
        away or an emulator that is started again, stops this too, and the message would stay hidden for a whole
        timeout."""
        from botocore.exceptions import BotoCoreError

        for pause_s in GIVE_BACK_PAUSES_S:
            try:
                return self._give_up_or_retry(reason)
            except BotoCoreError as error:
                self._log.warning("give_back_delayed", error=f"{type(error).__name__}: {error}", pause_s=pause_s)
            if self._given_back_for:  # the machine goes off: no time is left
                break
            self._sleep(pause_s)
        return self._give_up_or_retry(reason)

    def _give_up_or_retry(self, reason: str) -> None:
        """No item's fault: try again later, with ever longer pauses; dead if SQS will not hand it out again."""
        delivery = self._delivery
        if delivery.is_last and not self._is_committed():
            mark_dead(self._context, self._place, f"failed {delivery.receives} times, last with {reason}")
            delivery.give_back()
            return
        self._release(blame=False)
        delivery.give_back(delay_s=min(15 * 2**delivery.receives, LONGEST_RETRY_DELAY_S))

    def _is_committed(self) -> bool:
        """Was all of it written but the ledger's row? Then the guard counts it, and it must not be called dead."""
        try:
            return self._context.storage.read(result_key(*self._place)) is not None
        except StorageError:
            return False  # what cannot be read cannot be counted; whoever watches must not wait for ever

    def _release(self, *, blame: bool) -> None:
        self._context.ledger.release_shard(*self._place, self._context.machine, blame=blame)

    # --- other threads ---

    def keep_alive(self) -> None:
        """Tell ledger and SQS that it is worked on; stop if it is not ours any more, or not for much longer."""
        shard_run, queue = self._shard_run, self._delivery.queue
        if shard_run is None or shard_run.cancelled:
            return
        alive = self._context.ledger.heartbeat(*self._place, self._context.machine, shard_run.progress, shard_run.parts)
        if not alive and shard_run.progress < len(shard_run.shard.items):
            self._lost = True
            shard_run.cancel()
        elif self._delivery.is_too_old:
            self.give_back("held_too_long")
        elif queue.clock() - self._extended_at > queue.visibility_timeout_s / 3:
            self._delivery.extend()
            self._extended_at = queue.clock()

    def give_back(self, reason: str) -> None:
        """Have its thread stop working on it and give it back."""
        with self._lock:
            self._given_back_for = reason
            if self._shard_run is not None:
                self._shard_run.cancel()


def require_task(shard: Shard, name: str, task: Task) -> None:
    """Raises ContractError for a shard of another task, or with options that no configuration lets through."""
    if shard.task != name:
        raise ContractError(f"it is for the task {shard.task}, and this pipeline's is {name}")
    if mistake := task.mistake_in(shard.options):
        raise ContractError(mistake)


def mark_dead(context: WorkerContext, place: Place, reason: str) -> None:
    """The shard will not be tried again: say so, or whoever watches the job waits for ever. Not of another pipeline's:
    whoever can name a shard must not end it."""
    job, number, generation = place
    if context.is_of_another(job):
        context.log.error("foreign_shard", job=job, shard=number, generation=generation, reason=reason)
        return
    context.log.error("shard_dead", job=job, shard=number, generation=generation, reason=reason)
    context.ledger.mark_dead(*place, reason)


def give_up_foreign(context: WorkerContext, delivery: Delivery, reason: str) -> None:
    """Let a message that is none of ours go to the dead-letter queue; if it names a shard, end the wait for it."""
    context.log.error("message_not_understood", reason=reason, body=delivery.body[:BODY_SHOWN])
    try:
        body = read_json(delivery.body, limit_bytes=MESSAGE_BYTES)
        mark_dead(context, (str(body["job"]), int(body["number"]), int(body["generation"])), reason)
    except Exception as error:  # it names none, or none that there can be
        context.log.info("names_no_shard", error=f"{type(error).__name__}: {error}"[:BODY_SHOWN])
    delivery.give_back(delay_s=LATER_S)  # or it would be handed out again before anything else


def attempt(log: Log, what: str, call: Callable[[], object]) -> None:
    """Make a call whose failure must not end the thread: what it says will be noticed or said again."""
    try:
        call()
    except Exception as error:
        log.warning(f"{what}_failed", error=f"{type(error).__name__}: {error}")
