"""watch: a job as it is now, and as it goes on; a few queries a look, also for a million images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gpupipe.aws import absent_ok
from gpupipe.errors import AwsError, JobError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.advice import warnings_told
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.listing import UPLOADING, JobSummary, summary_in_bucket, summary_of
from gpupipe.jobs.logs import LogLine, read_logs
from gpupipe.jobs.pulse import Pulse, cost_usd, seconds_left
from gpupipe.jobs.still_open import SUBMITTED
from gpupipe.kinds.kind import AnyKind
from gpuworker.contract import manifest_key
from gpuworker.ledger import Ignored, Intake, JobState, MachineRecord, Totals

LOG_LINES = 8
LOG_BEGINS_S = 600.0
"""The first look shows log lines of the last ten minutes."""
ANNOUNCE_AFTER_S = 60.0
"""S3's events come within seconds; a job that waits longer for dispatch is announced to it again, once."""
DISPATCH_MISSED_S = 15.0
"""Dispatch takes a job up within seconds; after so long it is looked for."""
GUARD_SILENT_S = 240.0
"""The guard looks every minute."""
FAILED_LOOKS_MAX = 5


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job at one moment."""

    at: float
    job: JobSummary
    totals: Totals
    items_per_s: float | None = None
    seconds_left: float | None = None
    machines: Sequence[MachineRecord] = ()
    """Those that are up, of the pipeline."""
    waiting: Sequence[str] = ()
    """Why nothing, or not more, is going on, in plain words."""
    cost_usd: float = 0.0
    """Of all the pipeline's machines while the job was unfinished."""
    log: Sequence[LogLine] = ()
    """The newest lines about it, oldest first."""
    finished_at: float | None = None
    is_open: bool = False
    """A drop-in job that still takes what arrives."""
    guard: Mapping[str, Any] = field(default_factory=dict)
    """The guard's last look, as it wrote it."""
    backend: str = ""
    """How what does the work is, as the guard saw it, where its machines do not say it all."""
    backend_word: str = ""
    """What stands before that."""
    unit: str = "machine"
    """What its machines are called; "" where it has none to count."""
    left: Sequence[str] = ()
    """What was dropped into a drop-in job's project and not used, in words."""

    @property
    def is_over(self) -> bool:
        return self.job.is_over

    @property
    def needs_person(self) -> bool:
        """It stalled: nothing goes on before a person looks at it."""
        return self.job.state == JobState.STALLED and not self.totals.running and not self.totals.progressed

    @property
    def warnings(self) -> list[str]:
        """What has to be known of results so far, in words."""
        return [*warnings_told(self.totals.counts), *self.left]

    @property
    def failed(self) -> int:
        """Items without a result: failed, or lost with dead shards."""
        return self.totals.failed + self.totals.dead


class Watcher:
    """Looks at one job; what it saw before gives rates and the log's newest lines."""

    def __init__(self, ctx: JobsContext, job: str, *, clock: Callable[[], float] = time.time) -> None:
        self._ctx, self._job, self._clock = ctx, job, clock
        self._pulse = Pulse()
        self._log: list[LogLine] = []
        self._log_seen: dict[str, float] = {}
        self._undispatched_since: float | None = None

    def look(self, *, with_log: bool = True) -> JobView:
        """The job now. Raises JobError where there is no such job, AwsError."""
        now = self._clock()
        with self._ctx.at_ledger():
            record = self._ctx.ledger.job(self._job)
            totals = self._ctx.ledger.totals(self._job) if record else Totals()
            guard = self._ctx.ledger.guard_status(self._ctx.pipeline)
            is_dropin = record is not None and record.kind == "drop-in"
            ignored = self._ctx.ledger.ignored(self._ctx.pipeline) if is_dropin else ()
            machines = self._ctx.ledger.machines(self._ctx.pipeline)
        job = self._begun_again(summary_of(record)) if record else self._undispatched(now)
        rate = self._pulse.look(now, totals)
        end = job.finished_at or now
        return JobView(
            at=now,
            job=job,
            totals=totals if record else _totals_of(job),
            items_per_s=rate,
            seconds_left=0.0 if job.is_over else seconds_left(totals, rate) if record else None,
            machines=[machine for machine in machines if machine.is_up],
            waiting=() if job.is_over else self._reasons(job, totals, guard, now),
            cost_usd=cost_usd(machines, job.created_at, end),
            log=self._newest_lines(now) if with_log else (),
            finished_at=job.finished_at,
            is_open=record is not None and record.intake is Intake.OPEN and not job.is_over,
            guard=guard,
            backend=self._ctx.kind.backend_text(guard),
            backend_word=self._ctx.kind.backend_word,
            unit=self._ctx.kind.unit,
            left=_worlds_left(ignored, job.project),
        )

    def _reasons(self, job: JobSummary, totals: Totals, guard: Mapping[str, Any], now: float) -> Sequence[str]:
        is_late = job.state == SUBMITTED and now - job.created_at >= DISPATCH_MISSED_S
        if is_late and (missing := self._missing_dispatch()):
            return [missing]
        return reasons(self._ctx.kind, job, totals, guard, now)

    def _missing_dispatch(self) -> str:
        """That there is no function to take the job up, as after a `down` that was killed; "" where there is one, or
        nobody can say."""
        name = self._ctx.aws.stack.dispatch_function(self._ctx.pipeline)
        try:
            with explained(f"look for function {name}"):
                found = absent_ok(self._ctx.aws.client("lambda").get_function_configuration, FunctionName=name)
        except AwsError:
            return ""
        if found is not None:
            return ""
        return f"Submitted, and nobody takes it up: function {name} is missing. `gpupipe up` makes the stack whole."

    def announce_if_lost(self, view: JobView) -> None:
        """Tell dispatch of a job that has waited for it too long: S3's event may be lost."""
        if view.job.state != SUBMITTED:
            self._undispatched_since = None
        elif self._undispatched_since is None:
            self._undispatched_since = view.at
        elif view.at - self._undispatched_since >= ANNOUNCE_AFTER_S:
            announce_manifest(self._ctx, self._job, view.job.generation)
            self._undispatched_since = view.at

    def _begun_again(self, job: JobSummary) -> JobSummary:
        """A finished job whose retry dispatch has not seen yet is not over."""
        following = job.generation + 1
        if job.state != JobState.FINISHED or not self._ctx.exists(manifest_key(job.job, following)):
            return job
        return replace(job, state=SUBMITTED, generation=following, finished_at=None)

    def _undispatched(self, now: float) -> JobSummary:
        found = summary_in_bucket(self._ctx, self._job)
        if found is None:
            raise JobError(f"there is no job {self._job}.", hint="See `gpupipe jobs`.")
        return found

    def _newest_lines(self, now: float) -> Sequence[LogLine]:
        since = max([now - LOG_BEGINS_S, *(at - 20.0 for at in self._log_seen.values())])
        self._log += read_logs(self._ctx, since=since, job=self._job, seen=self._log_seen)
        self._log = sorted(self._log, key=lambda line: line.at)[-LOG_LINES:]
        self._log_seen = {event: at for event, at in self._log_seen.items() if at >= since}
        return tuple(self._log)


def _worlds_left(ignored: Iterable[Ignored], project: str) -> list[str]:
    """Since the project's first drop-in: which of its jobs a file came with, nobody knows."""
    count = sum(one.world_files for one in ignored if one.project == project)
    if not count:
        return []
    files = "world file or .prj" if count == 1 else "world files or .prj"
    return [
        f"{count:,} {files} dropped into project {project} {'was' if count == 1 else 'were'} left: images that are "
        "dropped in get no place from files beside them. `gpupipe submit` uses them."
    ]


def _totals_of(job: JobSummary) -> Totals:
    """Of a job that dispatch has not seen: all of it waits, or was cancelled before it began."""
    if job.is_over:
        return Totals(items=job.items, shards=job.shards, cancelled=job.items)
    return Totals(items=job.items, shards=job.shards, shards_open=job.shards, pending=job.items)


def observe(ctx: JobsContext, job: str, *, with_log: bool = True) -> JobView:
    """One look at a job."""
    return Watcher(ctx, job).look(with_log=with_log)


def follow(
    ctx: JobsContext,
    job: str,
    *,
    interval_s: float = 2.0,
    with_log: bool = True,
) -> Iterator[JobView]:
    """A look every `interval_s` seconds, until the job is over or needs a person; the last look is that one.

    A few looks in a row may fail (a network that comes back, a local target that restarts); then AwsError is raised.
    """
    watcher, failures = Watcher(ctx, job), 0
    while True:
        try:
            view = watcher.look(with_log=with_log)
            watcher.announce_if_lost(view)
            failures = 0
        except AwsError:
            failures += 1
            if failures > FAILED_LOOKS_MAX:
                raise
        else:
            yield view
            if view.is_over or view.needs_person:
                return
        ctx.aws.clock.sleep(interval_s)


def reasons(kind: AnyKind, job: JobSummary, totals: Totals, guard: Mapping[str, Any], now: float) -> list[str]:
    """Why it waits, in plain words; empty while it is being worked on and nothing is wrong."""
    if job.state == UPLOADING:
        return ["Its upload goes on, or was stopped: `gpupipe submit` with the same arguments finishes it."]
    if job.state == SUBMITTED:
        return ["Submitted, waiting for dispatch."]
    told = [str(one.get("message", "")) for one in guard.get("waiting", ()) if _concerns(job, one)]
    if job.state == JobState.STALLED and not any(job.reason in reason for reason in told):
        told.insert(0, f"It is stalled: {job.reason}.")
    if totals.running or totals.progressed:
        return told
    looked_at = float(guard.get("at") or 0.0)
    if not looked_at:
        told.append("Waiting for the guard's first look, which comes within a minute.")
    elif now - looked_at > GUARD_SILENT_S:
        told.append(f"The guard last looked {(now - looked_at) / 60:.0f} minutes ago; see `gpupipe logs`.")
    if not told and totals.pending:
        told.append(kind.idle_reason(guard))
    return told


def _concerns(job: JobSummary, waiting: Mapping[str, Any]) -> bool:
    """Is this one of the guard's reasons for this job? It names a stalled job, all else is about the pipeline."""
    code = waiting.get("code")
    return code != "ok" and (code != "stalled" or job.job in str(waiting.get("message", "")))
