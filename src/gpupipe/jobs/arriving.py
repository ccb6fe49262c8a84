"""What was dropped into a project and is no job yet: images that lie there, and events on their way to dispatch.

Between an `aws s3 sync` and the job that dispatch opens for it lie seconds, or minutes where dispatch is busy.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gpupipe.aws import Aws, absent_ok
from gpupipe.config import Config
from gpupipe.errors import AwsError, JobError
from gpupipe.explain import explained
from gpupipe.functions.queue_transport import messages_in
from gpupipe.jobs import JobsContext
from gpupipe.jobs.keys import require_project
from gpupipe.jobs.listing import JobSummary, choose_job, contexts, list_jobs
from gpupipe.jobs.rebuild_dropins import unknown_objects
from gpuworker.contract import INCOMING, incoming_prefix, is_project_name

COUNTED_MAX = 1_000
"""Images are counted up to here; more makes no difference to whoever waits."""
LOST_AFTER_S = 60.0
"""S3's events come within seconds; what waits longer may never be told of."""
FRESH_S = 900.0
"""So long after it was dropped in, an image may still belong to a job that follows the project's newest, finished one:
three times what one call of dispatch may take. What is older was lost, and nobody waits for it."""


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """What is on its way to a job, in one pipeline."""

    pipeline: str
    place: str
    """`s3://…/incoming/field7/`."""
    images: int
    """That no job has taken, up to `COUNTED_MAX`."""
    events: int
    """In the pipeline's event queue, whatever they are about."""

    def words(self, waited_s: float) -> str:
        """For what is waited, and what to do once that takes long."""
        told = [self._images] if self.images else []
        if self.events:
            told.append(f"{self.events:,} {'event is' if self.events == 1 else 'events are'} on the way to dispatch")
        text = f"no job yet in pipeline {self.pipeline}, waiting for dispatch: {', and '.join(told)}"
        if waited_s < LOST_AFTER_S:
            return text
        place = f"{self.place}PROJECT/" if self.place.endswith(f"/{INCOMING}") else self.place
        again = f"`gpupipe submit {place} --pipeline {self.pipeline}` tells it again" if self.images else ""
        logs = f"`gpupipe logs --pipeline {self.pipeline}` shows what it does"
        minutes = int(waited_s // 60)
        long = f"for {minutes} {'minute' if minutes == 1 else 'minutes'} now"
        return f"{text}; {long}: {'; '.join(part for part in (again, logs) if part)}"

    @property
    def _images(self) -> str:
        number = f"{self.images:,} or more" if self.images >= COUNTED_MAX else f"{self.images:,}"
        return f"{number} {'image lies' if self.images == 1 else 'images lie'} in {self.place}"


def newest_job(
    aws: Aws,
    config: Config,
    *,
    project: str | None = None,
    pipeline: str | None = None,
    interval_s: float = 2.0,
    on_wait: Callable[[str], None] = lambda _: None,
) -> tuple[JobsContext, str]:
    """The newest job, of `project` where that is given; waits for it while what was dropped in is on its way.

    `on_wait` is told for what is waited at every look. Raises InputError for what no project can be called, so that
    dispatch takes nothing that is dropped in under it, and JobError where there is no job and nothing on its way.
    """
    if project is not None:
        require_project(project)
    within = contexts(aws, config, pipeline)
    begun = aws.clock.monotonic()
    while waiting := arriving(within, project):
        waited_s = aws.clock.monotonic() - begun
        on_wait("; ".join(one.words(waited_s) for one in waiting))
        aws.clock.sleep(interval_s)
    try:
        return choose_job(aws, config, project=project, pipeline=pipeline)
    except JobError as error:
        raise _with_reason(error, within, project) from error


def arriving(within: Sequence[JobsContext], project: str | None) -> list[Arriving]:
    """What is on its way to a job that is newer than all there are; nothing while the newest is worked on."""
    newest = next(list_jobs(within, project=project, limit=1), None)
    if newest is not None and (project is None or not newest.is_over):
        return []
    found = [_arriving(ctx, project, newest) for ctx in within]
    # Events say nothing about their project: beside a job that is there, they may be about anything.
    return [one for one in found if one.images or (one.events and newest is None)]


def _arriving(ctx: JobsContext, project: str | None, newest: JobSummary | None) -> Arriving:
    since = max(newest.created_at, time.time() - FRESH_S) if newest else 0.0
    events = _events(ctx)  # before the images: an event is gone only once its images have a job
    images = sum(1 for _ in itertools.islice(_untaken(ctx, project, since), COUNTED_MAX))
    place = f"s3://{ctx.bucket}/{incoming_prefix(project) if project else INCOMING}"
    return Arriving(pipeline=ctx.pipeline, place=place, images=images, events=events)


def _untaken(ctx: JobsContext, project: str | None, since: float) -> Iterator[object]:
    """Images under incoming/ that no job has taken; none where no `up` has made the bucket yet."""
    try:
        names = [project] if project else [name for name in ctx.folders(INCOMING) if is_project_name(name)]
        for name in names:
            yield from unknown_objects(ctx, name, since=since)
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise


def _events(ctx: JobsContext) -> int:
    """Messages in the event queue, also those that dispatch is at."""
    with explained(f"count what waits in queue {ctx.aws.stack.event_queue(ctx.pipeline)}"):
        return absent_ok(messages_in, sqs=ctx.aws.client("sqs"), url=ctx.event_queue_url) or 0


def _with_reason(error: JobError, within: Sequence[JobsContext], project: str | None) -> JobError:
    """That nothing is on its way either; where files lie there that are no inputs, that too."""
    if project is None or not is_project_name(project):
        return error
    places = [f"s3://{ctx.bucket}/{incoming_prefix(project)}" for ctx in within]
    others = [ctx for ctx in within if _holds_something(ctx, project)]
    nothing = f"no image lies in {' or '.join(places)}, and no event is on its way"
    if others:
        suffixes = ", ".join(sorted(others[0].settings.task_options.input_suffixes)) or "values, no files"
        nothing += f"; the files that lie there are none that task {others[0].settings.task} takes ({suffixes})"
    return JobError(f"{error.message.rstrip('.')}: {nothing}.", hint=error.hint)


def _holds_something(ctx: JobsContext, project: str) -> bool:
    try:
        return any(not key.endswith("/") for key in ctx.keys(incoming_prefix(project)))
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise
        return False
