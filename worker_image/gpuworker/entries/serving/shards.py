"""One shard by HTTP, from its start in the ledger to its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from gpuworker.contract import Shard, ShardResult
from gpuworker.entries.message_handler import attempt
from gpuworker.entries.serving.answers import Answer, problem
from gpuworker.ledger import ShardRecord
from gpuworker.pipeline.runner import WorkerContext, run_shard
from gpuworker.pipeline.shard_run import ShardRun

ALIVE_S = 30.0
"""A machine that gave a sign of life within so long still works on its shard; six heartbeats."""
SHARE_OF_TIMEOUT = 0.8
"""Of the time its caller waits; what is left is for giving the shard back in good order."""


class Stop(StrEnum):
    """Why work on a shard ends before its end."""

    TIME_IS_UP = "time_is_up"
    DRAINING = "draining"
    DISCONNECTED = "disconnected"
    STUCK = "stuck"


_SAID: Mapping[Stop, tuple[int, str]] = {
    Stop.TIME_IS_UP: (
        503,
        "most of invocation_timeout_s was over; what is finished is kept, send it again",
    ),
    Stop.DRAINING: (503, "this instance ends; what is finished is kept, send it again"),
    Stop.DISCONNECTED: (503, "nobody waited for the answer any more"),
    Stop.STUCK: (500, "the model does not return; this process ends"),
}


class ShardWork:
    """A shard this process works on. `run` in a thread of its own; `keep_alive` and `stop` from others."""

    def __init__(
        self,
        shard: Shard,
        context: WorkerContext,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s`: how long the caller waits, from now on."""
        self._shard, self._context, self._clock = shard, context, clock
        self._place = shard.place
        self._log = context.log.bind(job=shard.job, shard=shard.number, generation=shard.generation)
        self._shard_run = ShardRun(shard)
        self._deadline = clock() + SHARE_OF_TIMEOUT * timeout_s
        self._stop: Stop | None = None
        self._lost = False
        self._is_ours = False
        self._lock = threading.Lock()

    # --- its own thread ---

    def run(self) -> Answer:
        """Work on it to its end; what to answer. Never raises."""
        try:
            return self._process()
        except Exception as error:
            self._log.error("shard_failed", error)
            if self._is_ours:  # no blame: the shard is not what failed
                attempt(self._log, "give_back", lambda: self._release(blame=False))
            return self._problem(500, "failed", f"{type(error).__name__}: {error}")

    def _process(self) -> Answer:
        record = self._context.ledger.job(self._shard.job)
        if record is not None and (record.pipeline, record.project) != (self._context.pipeline, self._shard.project):
            self._log.error("foreign_shard", of=record.pipeline)
            return self._problem(422, "foreign_shard", f"{self._shard.job} is a job of another pipeline or project")
        before = self._context.ledger.shard(*self._place[:2])
        if before is None or before.generation < self._shard.generation:
            self._log.warning("shard_not_registered")
            return self._problem(503, "starting", "the ledger does not know this shard yet; send it again")
        if self._stop is not None:
            return self._problem(_SAID[self._stop][0], self._stop, _SAID[self._stop][1])
        ledger, machine = self._context.ledger, self._context.machine
        row = ledger.start_shard(*self._place, machine, alive_s=ALIVE_S)
        if row is None:
            return self._not_ours()
        self._is_ours = True
        # Given back before without blame, it counts as started once and yet has finished items.
        begun_before = before.started_at is not None
        self._log.info("shard_started", items=len(self._shard.items), started=row.started, again=begun_before)
        result = run_shard(
            self._shard, context=self._context, shard_run=self._shard_run, started=row.started, redelivered=begun_before
        )
        return self._answer_cancelled() if result is None else self._done(result)

    def _done(self, result: ShardResult) -> Answer:
        done, failed = len(result.items), len(result.failures)
        self._log.info("shard_done", done=done, failed=failed, engine=result.made_by, seconds=result.timings)
        return self._said("done", done=done, failed=failed)

    def _not_ours(self) -> Answer:
        """Done, dead, cancelled, of a newer generation, or another machine's who is alive."""
        row = self._context.ledger.shard(*self._place[:2])
        if row is not None and row.is_open and row.generation == self._shard.generation:
            return self._elsewhere(row)
        state = row.state if row else "missing"
        self._log.info("shard_is_over", state=state, generation_now=row.generation if row else None)
        return self._said("over", done=row.done if row else 0, failed=row.failed if row else 0)

    def _elsewhere(self, row: ShardRecord) -> Answer:
        self._log.info("shard_is_elsewhere", with_machine=row.machine)
        return self._said("elsewhere", done=0, failed=0)

    def _answer_cancelled(self) -> Answer:
        """The run was cancelled: the shard is not ours any more, or there is a reason to give it back."""
        finished = self._shard_run.finished_here
        if self._lost:
            return self._not_ours()
        stop = self._stop or Stop.DRAINING
        blame = stop is Stop.STUCK or (stop in (Stop.TIME_IS_UP, Stop.DISCONNECTED) and not finished)
        self._release(blame=blame)
        self._log.info("shard_given_back", reason=stop, finished=finished, blame=blame)
        status, message = _SAID[stop]
        if stop is Stop.STUCK:
            return self._problem(status, "failed", self._context.stream.stuck or message, finished=finished)
        return self._problem(status, stop, message, finished=finished)

    def _release(self, *, blame: bool) -> None:
        self._context.ledger.release_shard(*self._place, self._context.machine, blame=blame)

    def _said(self, status: str, *, done: int, failed: int) -> Answer:
        return Answer.of({"status": status, **self._names, "done": done, "failed": failed})

    def _problem(self, status: int, code: str, message: str, **more: Any) -> Answer:
        return problem(status, code, message, **self._names, **more)

    @property
    def _names(self) -> Mapping[str, Any]:
        return {"job": self._shard.job, "number": self._shard.number, "generation": self._shard.generation}

    # --- other threads ---

    @property
    def is_overdue(self) -> bool:
        """Has it to stop, so that it is given back before its caller gives up?"""
        return self._stop is None and self._clock() > self._deadline

    def keep_alive(self) -> None:
        """Tell the ledger that it is worked on; stop if it is not ours any more (cancelled, sent again)."""
        shard_run = self._shard_run
        if not self._is_ours or shard_run.cancelled:
            return
        alive = self._context.ledger.heartbeat(*self._place, self._context.machine, shard_run.progress, shard_run.parts)
        if not alive and shard_run.progress < len(self._shard.items):
            self._lost = True
            shard_run.cancel()

    def stop(self, reason: Stop) -> None:
        """Have its thread stop and give the shard back; the first reason counts."""
        with self._lock:
            self._stop = self._stop or reason
        self._shard_run.cancel()
