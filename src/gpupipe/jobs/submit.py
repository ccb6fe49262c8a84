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
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from gpupipe.errors import InputError, JobError, StoppedError, UploadError, UsageError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.assembly import Assembly, shards_of
from gpupipe.jobs.claim import Claim, claim_content
from gpupipe.jobs.draft import Draft, fingerprint, open_draft
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.pace import seconds_per_item
from gpupipe.jobs.passed_over import in_words
from gpupipe.jobs.present import Present
from gpupipe.jobs.readers import require_readers
from gpupipe.jobs.sidecars import Sidecars, read_sidecars, require_aim, require_none
from gpupipe.jobs.sources import Input, content_type
from gpupipe.jobs.still_open import SUBMITTED
from gpupipe.jobs.transfer import IN_FLIGHT_BYTES, Store, bytes_held, open_store
from gpupipe.jobs.upload import Upload, content_etag, upload_one, write_document
from gpupipe.jobs.world_files import read_places
from gpupipe.tasks import TaskOptions
from gpupipe.tasks.job_options import job_options
from gpuworker.contract import (
    WORLD,
    JobSpec,
    Manifest,
    cancelled_key,
    input_key,
    job_key,
    manifest_key,
    read_spec,
    shard_key,
)
from gpuworker.ledger import JobState

MISTAKES_SHOWN = 5
UNUSED = "file of boxes, which this engine does not look at"


@dataclass(frozen=True, kw_only=True)
class SubmitProgress:
    """How far a submission is; sent after every file. `compare` is asking what lies in the bucket already."""

    step: Literal["find", "compare", "upload", "start"]
    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0
    unchanged: int = 0
    """Files of `files` that were there already."""


@dataclass(frozen=True, kw_only=True)
class SubmittedJob:
    """A job that was started now, or (`attached`) that another call has started and that is open or awaited."""

    job: str
    project: str
    pipeline: str
    items: int
    bytes: int
    shards: int
    uploaded: int = 0
    uploaded_bytes: int = 0
    unchanged: int = 0
    """Inputs that were there already."""
    with_sidecar: int = 0
    """Inputs beside which lie boxes."""
    with_place: int = 0
    """Inputs beside which lies a world file or .prj."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What was passed over, by reason."""
    skipped_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The first hundred of it, of those reasons where a person may have meant the file to be taken."""
    links_left_out: Sequence[str] = ()
    """Links among it, as `place -> target`; the first hundred."""
    results_named: Sequence[str] = ()
    """What was taken though it was fetched before, because it was named; the first hundred."""
    is_resumed: bool = False
    """The upload of an earlier call was gone on with."""
    attached: bool = False
    """The same submission had been started before and is open: this is its job, and none was made."""
    state: str = ""
    """Of a job that was attached to, as `open_state` says."""
    replaces: str = ""
    """The job of the same submission that is over; its results can be fetched still."""
    is_held: bool = False
    notice: str = ""
    """What everybody who sees results of this task should know."""

    @property
    def passed_over(self) -> str:
        """What was passed over, in words; "" where nothing was."""
        return in_words(self.skipped, self.skipped_names)


OnProgress = Callable[[SubmitProgress], None]


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
    on_progress: OnProgress = lambda _: None,
) -> SubmittedJob:
    """Upload what `arguments` name and start a job with it. `assignments` are `key=value` options of the task.

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
    inputs = collect(
        arguments,
        suffixes=options.input_suffixes,
        project=project,
        sidecar_suffix=options.sidecar_suffix,
        takes_places=options.takes_places,
        follow_links=follow_links,
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
    run = _Submission(ctx, store, spec, inputs, sidecars, draft, on_progress)
    try:
        run.finish(again=again)
    except KeyboardInterrupt as error:
        which = "Without --again the" if again else "The"
        raise StoppedError(run.told(), hint=f"{which} same command goes on with job {spec.job}.") from error
    return run.outcome(options)


class _Submission:
    """One run of a submission."""

    def __init__(
        self,
        ctx: JobsContext,
        store: Store,
        spec: JobSpec,
        inputs: Inputs,
        sidecars: Sidecars,
        draft: Draft,
        on_progress: OnProgress,
    ) -> None:
        self._ctx, self._store, self._spec, self._draft = ctx, store, spec, draft
        self._inputs, self._files, self._sidecars = inputs, inputs.files, sidecars
        self._assembly = Assembly(spec, self._files, draft.shard_items, sidecars)
        self._on_progress = on_progress
        self._bytes_total = inputs.bytes
        self._files_done = self._bytes_done = self._unchanged = self._unchanged_bytes = 0
        self._claim = Claim(job=draft.job, shard_items=draft.shard_items, state=draft.state)
        self._is_starting = False

    def finish(self, *, again: bool) -> None:
        """Do what is left to do."""
        if self._draft.is_started:
            self._unchanged = self._files_done = len(self._files)
            self._bytes_done = self._unchanged_bytes = self._bytes_total
            return
        self._ctx.write(job_key(self._spec.job), self._spec.to_json())
        self._progress("compare")
        present = Present(self._ctx, self._spec.project, self._files)
        self._upload(present)
        self._progress("start")
        self._is_starting = True
        self._begin(again=again)

    def _begin(self, *, again: bool) -> None:
        """Give the start signal, or give way to the open job that has the same content."""
        self._claim = claim_content(self._ctx, self._spec, self._assembly.content, self._draft.shard_items, again=again)
        if self._claim.job != self._spec.job:
            self._leave()
        elif not self._ctx.write_new(manifest_key(self._spec.job), self._manifest().to_json()):
            self._claim = replace(self._claim, state=SUBMITTED)
        if self._ctx.exists(cancelled_key(self._claim.job)):
            raise JobError(
                f"job {self._claim.job} was cancelled while it was submitted, so nothing of it begins.",
                hint="The same command makes a new one; what is uploaded is not uploaded again.",
            )

    def _leave(self) -> None:
        """Nobody goes on with this draft: first the mark, for whoever is about to start it, then out of the lists."""
        self._cancel_draft()
        self._ctx.remove(job_key(self._spec.job))

    def outcome(self, options: TaskOptions) -> SubmittedJob:
        unused = {} if options.reads_sidecars(self._ctx.place) else {UNUSED: len(self._inputs.sidecars.by_path)}
        return SubmittedJob(
            job=self._claim.job,
            project=self._spec.project,
            pipeline=self._spec.pipeline,
            items=len(self._files),
            bytes=self._bytes_total,
            shards=len(shards_of(len(self._files), self._claim.shard_items)),
            uploaded=self._files_done - self._unchanged,
            uploaded_bytes=self._bytes_done - self._unchanged_bytes,
            unchanged=self._unchanged,
            with_sidecar=sum(1 for one in self._sidecars.values() if set(one) != {WORLD}),
            with_place=sum(1 for one in self._sidecars.values() if WORLD in one),
            skipped={**self._inputs.skipped, **{why: count for why, count in unused.items() if count}},
            skipped_names=self._inputs.skipped_names,
            links_left_out=tuple(self._inputs.links_left_out),
            results_named=tuple(self._inputs.results_named),
            is_resumed=self._draft.is_resumed,
            attached=bool(self._claim.state),
            state=self._claim.state,
            replaces=self._draft.replaces,
            is_held=self._is_held(),
            notice=options.notice(self._ctx.place),
        )

    def _is_held(self) -> bool:
        """What somebody else submitted is held or not as they wanted it."""
        if not self._claim.state:
            return self._spec.hold
        return self._claim.state == JobState.HELD or (self._claim.state == SUBMITTED and self._was_to_be_held())

    def _was_to_be_held(self) -> bool:
        text = self._ctx.read(job_key(self._claim.job))
        return text is not None and read_spec(text, job=self._claim.job, pipeline=self._ctx.pipeline).hold

    def told(self) -> str:
        """Where it stopped."""
        started = f"and job {self._spec.job} may have started" if self._is_starting else "nothing has started"
        return f"stopped: {self._files_done:,} of {len(self._files):,} files are uploaded, {started}."

    def _manifest(self) -> Manifest:
        spec = self._spec
        shards = self._assembly.shards()
        return Manifest(job=spec.job, pipeline=spec.pipeline, project=spec.project, shards=shards)

    # --- upload ---

    def _upload(self, present: Present) -> None:
        mistakes: list[InputError] = []
        placed = concurrently(
            enumerate(self._files),
            lambda numbered: self._place(present, *numbered),
            threads=self._store.threads,
            cost=lambda numbered: bytes_held(numbered[1].size),
            budget=IN_FLIGHT_BYTES,
        )
        with closing(placed):
            for (_, file), placement in placed:
                if isinstance(placement, InputError):
                    mistakes.append(placement)
                elif isinstance(placement, Exception):
                    raise placement
                else:
                    self._count(file, is_unchanged=placement)
        if mistakes:
            self._cancel_draft()
            raise self._not_started(mistakes)

    def _cancel_draft(self) -> None:
        """What is mended is another submission, so nothing would ever go on with this one's job."""
        self._ctx.write(cancelled_key(self._spec.job), "{}")

    def _place(self, present: Present, index: int, file: Input) -> bool:
        """Bring one input to where it belongs, and its shard if that is complete; was it there already?"""
        key = input_key(self._spec.project, file.path)
        stored = present.find(key)
        is_unchanged = stored is not None and stored.size == file.size and stored.etag == content_etag(file)
        if stored is None or not is_unchanged:
            stored = upload_one(self._store, Upload(key=key, source=file, content_type=content_type(file.path)))
        shard = self._assembly.add(index, stored)
        if shard is not None:
            write_document(self._store, shard_key(shard.job, shard.number), shard.to_json())
        return is_unchanged

    def _count(self, file: Input, *, is_unchanged: bool) -> None:
        self._files_done += 1
        self._bytes_done += file.size
        if is_unchanged:
            self._unchanged += 1
            self._unchanged_bytes += file.size
        self._progress("upload")

    def _progress(self, step: Literal["compare", "upload", "start"]) -> None:
        self._on_progress(
            SubmitProgress(
                step=step,
                files=self._files_done,
                files_total=len(self._files),
                bytes=self._bytes_done,
                bytes_total=self._bytes_total,
                unchanged=self._unchanged,
            )
        )

    def _not_started(self, mistakes: Sequence[InputError]) -> UploadError:
        shown = "".join(f"\n  {mistake.message}" for mistake in mistakes[:MISTAKES_SHOWN])
        more = len(mistakes) - MISTAKES_SHOWN
        return UploadError(
            f"{len(mistakes):,} of {len(self._files):,} files could not be uploaded, so no job was started:{shown}"
            + (f"\n  and {more:,} more" if more > 0 else ""),
            hint="Mend or remove them and submit again; what is uploaded is not uploaded again.",
        )


def _sidecars(ctx: JobsContext, inputs: Inputs, options: TaskOptions) -> Sidecars:
    """What lies beside the inputs. Raises InputError where it cannot be used, or is missing where it is needed."""
    sidecars = read_sidecars(inputs.sidecars, options) if options.reads_sidecars(ctx.place) else {}
    require_aim(inputs.files, sidecars, options)
    places = read_places(inputs.places)
    require_none(places.mistakes, hint="Mend them, or remove them: their images are then processed without a place.")
    paths = [file.path for file in inputs.files if file.path in sidecars or file.path in places.by_path]
    return {path: {**sidecars.get(path, {}), **places.by_path.get(path, {})} for path in paths}


def _shard_items(ctx: JobsContext, inputs: Inputs, options: TaskOptions) -> int:
    """Large images are many items' work each, or a shard of them would keep one machine for hours."""
    worth = sum(options.worth(file.path, file.size) for file in inputs.files) / max(1, len(inputs.files))
    return ctx.kind.shard_items(ctx.settings, len(inputs.files), seconds_per_item(ctx, options) * worth)


def _person() -> str:
    """Who submitted, for colleagues who look at the job: user and machine, as far as they are known."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):
        return platform.node()
