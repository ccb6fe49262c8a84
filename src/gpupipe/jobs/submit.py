"""submit: from what a person names to a started job, resumable at any moment, started exactly once.

Nothing is uploaded before everything named was found usable. Then a draft is opened (or found again), inputs and
shards are written concurrently, the content is claimed, and last the manifest is written, if there is none: it is the
start signal. Killed or stopped anywhere before, the same command goes on with the same job and uploads only what is
missing. After it, the same command attaches to that job for as long as it is open.
"""

from __future__ import annotations

import getpass
import platform
import time
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

from gpupipe.errors import StoppedError, UsageError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.draft import fingerprint, open_draft
from gpupipe.jobs.file_submission import FileSubmission
from gpupipe.jobs.gathering import Arguments, gather
from gpupipe.jobs.inputs import Inputs
from gpupipe.jobs.pace import seconds_per_item
from gpupipe.jobs.readers import require_readers
from gpupipe.jobs.sidecars import Sidecars, read_sidecars, require_aim, require_none
from gpupipe.jobs.submission import UNUSED, OnProgress, SubmitProgress, SubmittedJob
from gpupipe.jobs.transfer import open_store
from gpupipe.jobs.value_submission import ValueSubmission, values_a_shard
from gpupipe.jobs.values import Values
from gpupipe.jobs.world_files import read_places
from gpupipe.tasks import TaskOptions
from gpupipe.tasks.job_options import job_options
from gpuworker.contract import JobSpec

__all__ = ["UNUSED", "OnProgress", "SubmitProgress", "SubmittedJob", "start", "submit"]


def submit(
    ctx: JobsContext,
    arguments: Sequence[str],
    *,
    project: str,
    prompts: Sequence[str] = (),
    negative_prompts: Sequence[str] = (),
    assignments: Sequence[str] = (),
    hold: bool = False,
    again: bool = False,
    follow_links: bool = True,
    values: Sequence[str] = (),
    stdin: BinaryIO | None = None,
    on_progress: OnProgress = lambda _: None,
) -> SubmittedJob:
    """Upload what `arguments` name and start a job with it. `assignments` are `key=value` options of the task.

    Of a task that takes values `arguments` are files of JSON, and "-" for `stdin`; `values` are JSON, one value each.

    Where the same was submitted before and its job is open, that is the job, except with `again`.
    Raises InputError and UsageError before anything is uploaded, UploadError where files turn out to be damaged, change
    or vanish during the upload (the job is then cancelled), AwsError, and StoppedError on Ctrl-C, whose hint says how
    to go on.
    """
    why, remedy = ctx.kind.cannot_hold(ctx.settings)
    if hold and why:
        raise UsageError(f"{why.format(pipeline=ctx.pipeline)}.", hint=remedy)
    options = job_options(
        ctx.settings.task_options,
        ctx.place,
        prompts=prompts,
        negative_prompts=negative_prompts,
        assignments=assignments,
    )
    inputs = gather(
        Arguments(paths=arguments, values=values, stdin=stdin or BytesIO(), follow_links=follow_links),
        options=options,
        task=ctx.settings.task,
        project=project,
        on_found=lambda files: on_progress(SubmitProgress(step="find", files=files)),
    )
    return start(ctx, inputs, project=project, options=options, hold=hold, again=again, on_progress=on_progress)


def start(
    ctx: JobsContext,
    inputs: Inputs,
    *,
    project: str,
    options: TaskOptions,
    hold: bool = False,
    again: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> SubmittedJob:
    """`submit` with inputs and options in hand."""
    sidecars: Sidecars = {}
    if not isinstance(inputs, Values):
        require_readers(inputs.files, here=ctx.aws.is_local)
        sidecars = _sidecars(ctx, inputs, options)
    store = open_store(ctx.aws, ctx.bucket)
    plain = options.model_dump(mode="json")
    about = {"pipeline": ctx.pipeline, "project": project, "task": ctx.settings.task, "options": plain}
    draft = open_draft(
        ctx,
        fingerprint(about, inputs.files, sidecars),
        project=project,
        shard_items=_shard_items(ctx, inputs, options),
        now=time.time(),
        again=again,
    )
    spec = JobSpec(
        job=draft.job,
        pipeline=ctx.pipeline,
        project=project,
        task=ctx.settings.task,
        options=plain,
        created_at=draft.created_at,
        fingerprint=draft.fingerprint,
        submitter=_person(),
        hold=hold,
    )
    kind = ValueSubmission if isinstance(inputs, Values) else FileSubmission
    run = kind(ctx, store, spec, inputs, sidecars, draft, on_progress)
    try:
        run.finish(again=again)
    except KeyboardInterrupt as error:
        which = "Without --again the" if again else "The"
        raise StoppedError(run.where_it_stopped(), hint=f"{which} same command goes on with job {spec.job}.") from error
    return run.outcome(options)


def _sidecars(ctx: JobsContext, inputs: Inputs, options: TaskOptions) -> Sidecars:
    """What lies beside the inputs. Raises InputError where it cannot be used, or is missing where it is needed."""
    sidecars = read_sidecars(inputs.sidecars, options) if options.reads_sidecars(ctx.place) else {}
    require_aim(inputs.files, sidecars, options)
    places = read_places(inputs.places)
    require_none(places.mistakes, hint="Mend them, or remove them: their images are then processed without a place.")
    paths = [file.path for file in inputs.files if file.path in sidecars or file.path in places.by_path]
    return {path: {**sidecars.get(path, {}), **places.by_path.get(path, {})} for path in paths}


def _shard_items(ctx: JobsContext, inputs: Inputs, options: TaskOptions) -> int:
    """Large images are many items' work each, or a shard of them would keep one machine for hours; large values are
    what a shard carries."""
    weight = sum(options.weight(file.path, file.size) for file in inputs.files) / max(1, len(inputs.files))
    by_work = ctx.kind.shard_items(ctx.settings, len(inputs.files), seconds_per_item(ctx, options) * weight)
    return min(by_work, values_a_shard(inputs.files)) if isinstance(inputs, Values) else by_work


def _person() -> str:
    """Who submitted, for colleagues who look at the job: user and machine, as far as they are known."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):
        return platform.node()
