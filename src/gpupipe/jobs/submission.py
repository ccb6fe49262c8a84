"""One run of a submission, whatever it is of: its draft, its content's claim, its start signal, and how far it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from gpupipe.errors import JobError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.assembly import Assembly, shards_of
from gpupipe.jobs.claim import Claim, claim_content
from gpupipe.jobs.draft import Draft
from gpupipe.jobs.inputs import Inputs
from gpupipe.jobs.passed_over import in_words
from gpupipe.jobs.sidecars import Sidecars
from gpupipe.jobs.sources import Input
from gpupipe.jobs.still_open import SUBMITTED
from gpupipe.jobs.transfer import Store
from gpupipe.tasks import TaskOptions
from gpuworker.contract import WORLD, JobSpec, Manifest, cancelled_key, job_key, manifest_key, read_spec
from gpuworker.ledger import JobState

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
    task: str
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


class Submission(ABC):
    """One run of a submission, of files or of values."""

    unit: ClassVar[str]
    """What is counted on the way."""

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
        self._assembly = Assembly(spec, len(self._files), draft.shard_items)
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
        self._send()
        self._progress("start")
        self._is_starting = True
        self._begin(again=again)

    @abstractmethod
    def _send(self) -> None:
        """Bring inputs and shards to where they belong. Raises UploadError, AwsError."""

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
            task=self._spec.task,
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

    def where_it_stopped(self) -> str:
        """For a person who has stopped it: how much is uploaded, and whether the job may have started."""
        started = f"and job {self._spec.job} may have started" if self._is_starting else "nothing has started"
        return f"stopped: {self._files_done:,} of {len(self._files):,} {self.unit} are uploaded, {started}."

    def _manifest(self) -> Manifest:
        spec = self._spec
        shards = self._assembly.shards()
        return Manifest(job=spec.job, pipeline=spec.pipeline, project=spec.project, shards=shards)

    def _cancel_draft(self) -> None:
        """What is mended is another submission, so nothing would ever go on with this one's job."""
        self._ctx.write(cancelled_key(self._spec.job), "{}")

    def _count(self, files: Sequence[Input], *, are_unchanged: bool = False) -> None:
        size = sum(file.size for file in files)
        self._files_done += len(files)
        self._bytes_done += size
        if are_unchanged:
            self._unchanged += len(files)
            self._unchanged_bytes += size
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
