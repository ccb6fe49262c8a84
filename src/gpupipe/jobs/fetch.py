"""fetch: the results of a job or project into a folder: what is new, verified, then merged and reported.

One pass over the stream of outcomes does everything: each outcome is merged, listed or counted as it passes, and what
its item lacks on disk is handed to the download, which draws from the stream as fast as it can write. Memory holds a
shard and the files in flight; the merged files replace older ones only when all of it went well. Stopped anywhere, the
same call goes on where it was.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gpupipe.aws import Aws
from gpupipe.errors import IntegrityError, JobError, UsageError
from gpupipe.explain import explained
from gpupipe.jobs import transfer
from gpupipe.jobs.beneath import Beneath
from gpupipe.jobs.folder import (
    ANNOTATIONS,
    DEFAULT_FOLDER,
    FAILURES,
    LAYER,
    LINES,
    REPORT,
    THUMB,
    ResultFolder,
    has_stamp,
    is_current,
    stamp_ns,
    writing,
)
from gpupipe.jobs.layer import Layer
from gpupipe.jobs.merge import FailureList, Merged, listing_failures, merging
from gpupipe.jobs.mirror import Mirror
from gpupipe.jobs.report import About, write_report
from gpupipe.jobs.report.summary import Summary
from gpupipe.jobs.report.thumbs import Thumbs
from gpupipe.jobs.results import JobResults, Newest, Outcome, open_results, read_commit
from gpupipe.tasks import takes_files
from gpuworker.contract import Artifact
from gpuworker.ledger import JobRecord, Ledger


@dataclass(frozen=True, kw_only=True)
class FetchProgress:
    """How far a fetch is; sent after every file and every item."""

    step: Literal["list", "fetch", "report"] = "list"
    items: int = 0
    items_total: int = 0
    """Items that will be looked at."""
    files: int = 0
    """Files fetched."""
    bytes: int = 0
    files_kept: int = 0
    """Files that were here already."""


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What is in the folder now. `failed` above 0 is exit code 3."""

    folder: Path
    report: Path
    merged: Path
    """annotations.json, or results.jsonl for tasks whose results are not COCO."""
    layer: Path | None
    """instances.geojson of all images on the map."""
    layer_note: str
    """Why not all images are in one layer though some are on the map; else ""."""
    warnings: Mapping[str, int]
    """Images by the stable word of what people have to know of their results (`contract.CAVEATS`)."""
    failures: Path
    failed_by: Mapping[str, int]
    """Failed images by the code of what happened to them."""
    task: str
    jobs: Sequence[str]
    """Oldest first."""
    is_complete: bool
    """False: the job goes on; what was committed so far is here."""
    items: int
    """Items asked for: done + failed + cancelled + outstanding."""
    done: int
    failed: int
    cancelled: int
    outstanding: int
    annotations: int
    area_m2: float | None
    """Of all annotations on the map; None where no image is georeferenced."""
    files_fetched: int
    files_kept: int
    bytes_fetched: int


def fetch(
    aws: Aws,
    *,
    job: str = "",
    project: str = "",
    pipeline: str = "",
    folder: Path | None = None,
    notice: str = "",
    cost_usd: float | None = None,
    on_progress: Callable[[FetchProgress], None] = lambda _: None,
) -> FetchReport:
    """Fetch a job, or the newest result of each image of a project; the newest job where neither is named.

    `folder` (default `results/<job or project>`) holds one job or project. `notice` and `cost_usd` are shown in the
    report. `on_progress` may be called from any thread, by one at a time.
    Raises JobError for an unknown job, UsageError where `folder` holds something else, GpupipeError where it cannot be
    written, IntegrityError where single files are lost or damaged (after everything else was fetched and merged).
    """
    ledger = Ledger(aws.client("dynamodb"), aws.stack.table)
    with explained("read the ledger"):
        records = choose_jobs(ledger, job=job, project=project, pipeline=pipeline)
    holds = {"project": project} if project else {"job": records[-1].job}
    target = ResultFolder(folder or _usual_folder(next(iter(holds.values()))))
    target.claim({**holds, "stack": aws.stack.id, "account": aws.stack.account, "pipeline": records[-1].pipeline})
    store = transfer.open_store(aws, aws.stack.data_bucket(records[-1].pipeline))
    mirror = Mirror(store, target.hidden)
    results = [open_results(aws, ledger, mirror, record, is_one_of_many=bool(project)) for record in records]
    run = _Fetch(store, mirror, target, results, is_project=bool(project), on_progress=on_progress)
    run.everything()
    run.report(About.of(results, mirror, project=project, notice=notice, cost_usd=cost_usd))
    run.complain()
    return run.outcome()


def _usual_folder(name: str) -> Path:
    """Below `results/`, where nobody named a folder. Raises GpupipeError where a link is in the way."""
    folder = DEFAULT_FOLDER / name
    Beneath(Path()).require_real(folder)
    return folder


def choose_jobs(ledger: Ledger, *, job: str = "", project: str = "", pipeline: str = "") -> list[JobRecord]:
    """The jobs meant, oldest first. Raises JobError where there is none, UsageError where pipelines would be mixed."""
    if job:
        record = ledger.job(job)
        if record is None:
            raise JobError(f"there is no job {job}.", hint="`gpupipe jobs` lists them.")
        return [record]
    limit = None if project else 1
    found = list(ledger.jobs(project=project or None, pipeline=pipeline or None, limit=limit))
    if not found:
        whose = f" of project {project}" if project else ""
        raise JobError(f"there is no job{whose} yet.", hint="Start one with `gpupipe submit`.")
    pipelines = sorted({record.pipeline for record in found})
    if len(pipelines) > 1:
        raise UsageError(
            f"project {project} has results of several pipelines: {', '.join(pipelines)}.",
            hint="Choose one with --pipeline.",
        )
    return found[::-1]


class _Fetch:
    """One run of `fetch`, from the stream of outcomes to the files."""

    def __init__(
        self,
        store: transfer.Store,
        mirror: Mirror,
        target: ResultFolder,
        results: Sequence[JobResults],
        *,
        is_project: bool,
        on_progress: Callable[[FetchProgress], None],
    ) -> None:
        self._store, self._mirror, self._target, self._results = store, mirror, target, results
        self._is_project = is_project
        self._summary = Summary()
        self._lost = 0
        self._first_lost: Exception | None = None
        self._layer: Path | None = None
        self._layer_note = ""
        self._on_progress, self._telling = on_progress, threading.Lock()
        self._progress = FetchProgress(items_total=sum(one.totals.items for one in results))

    def everything(self) -> None:
        """Download what is missing, merge, list failures."""
        with ExitStack() as stack:
            stack.enter_context(_rare_collections())
            newest = self._find_newest(stack)
            merged = stack.enter_context(merging(self._target.path, self._header()))
            failures = stack.enter_context(listing_failures(self._target.path))
            layer = Layer(stack, self._target.scratch)
            self._download(self._wanted(newest, merged, failures, layer))
            if self._first_lost is None:
                self._layer = layer.write(self._target.path)
            self._layer_note = layer.note

    def _download(self, wanted: Iterator[transfer.Download]) -> None:
        with closing(transfer.download(self._store, wanted)) as ended:
            for one, problem in ended:
                if problem is None:
                    self._tell(files=self._progress.files + 1, bytes=self._progress.bytes + one.size)
                elif transfer.is_lost(problem):
                    self._lost += 1
                    self._first_lost = self._first_lost or problem
                else:
                    raise problem

    def _find_newest(self, stack: ExitStack) -> Newest | None:
        """Needed only where one image may come twice: in a drop-in job, and over several jobs."""
        if len(self._results) == 1 and self._results[0].record.kind != "drop-in":
            return None
        newest = Newest()
        stack.callback(newest.close)
        for results in self._results:
            for shard in results.shards(self._mirror):
                newest.add(shard)
        self._tell(items_total=newest.images)
        return newest

    def _header(self) -> dict[str, object] | None:
        for results in self._results:
            for number, generation in results.commits[:1]:
                return dict(read_commit(self._mirror, results.record, number, generation).header)
        return None if takes_files(self._results[-1].record.task) else {}

    def _wanted(
        self, newest: Newest | None, merged: Merged, failures: FailureList, layer: Layer
    ) -> Iterator[transfer.Download]:
        """Pass every outcome on to where it belongs; yield what has to be downloaded for it."""
        self._tell(step="fetch")
        for results in self._results:
            for shard in results.shards(self._mirror):
                for commit in shard.commits:
                    self._summary.add_commit(commit)
                for outcome in shard.outcomes:
                    if newest is None or newest.counts(outcome):
                        merged.add(outcome)
                        failures.add(outcome)
                        folder = self._folder_of(outcome)
                        layer.add(outcome, self._target.names.inside(folder, LAYER))
                        self._summary.add(outcome, folder.relative_to(self._target.path).as_posix())
                        yield from self._missing(outcome, folder)
                        self._tell(items=self._progress.items + 1)
                    else:
                        self._discard(outcome)

    def _folder_of(self, outcome: Outcome) -> Path:
        name = outcome.file_name if self._is_project else outcome.output
        return self._target.names.folder(name, outcome.result.artifacts if outcome.result else ())

    def _missing(self, outcome: Outcome, folder: Path) -> Iterator[transfer.Download]:
        """The artefacts of an item that are not on disk as they should be."""
        for artifact, path in self._files(outcome, folder):
            time_ns = stamp_ns(artifact, outcome.commit.finished_at)
            with writing(path):
                self._target.beneath.require_real(path.parent)
                current = is_current(path, artifact, time_ns)
            if current:
                self._tell(files_kept=self._progress.files_kept + 1)
            else:
                yield transfer.Download(
                    key=artifact.key,
                    target=path,
                    size=artifact.size,
                    sha256=artifact.sha256,
                    version_id=artifact.version_id,
                    scratch=self._target.scratch,
                    beneath=self._target.beneath,
                    time_ns=time_ns,
                )

    def _files(self, outcome: Outcome, folder: Path) -> Iterator[tuple[Artifact, Path]]:
        for name, artifact in outcome.result.artifacts.items() if outcome.result else ():
            if name != THUMB:
                yield artifact, self._target.names.inside(folder, name)

    def _discard(self, outcome: Outcome) -> None:
        """Remove what was fetched of a result that a newer one replaced, unless somebody changed it."""
        for artifact, path in self._files(outcome, self._folder_of(outcome)):
            with writing(path):
                self._target.beneath.require_real(path.parent)
                if has_stamp(path, artifact, stamp_ns(artifact, outcome.commit.finished_at)):
                    self._target.beneath.unlink(path)

    def _tell(self, **changed: Any) -> None:
        with self._telling:
            self._progress = replace(self._progress, **changed)
            self._on_progress(self._progress)

    # --- after the pass ---

    def report(self, about: About) -> None:
        """Fetch the pictures of the gallery, and write the page."""
        self._tell(step="report")
        gallery = self._summary.gallery()
        thumbs = Thumbs(self._store, self._target.hidden / "thumbs")
        write_report(self._target.path / REPORT, self._summary, about, gallery=gallery, pictures=thumbs.of(gallery))

    def complain(self) -> None:
        """Raise IntegrityError where files could not be fetched as their results say."""
        if self._first_lost is not None:
            raise IntegrityError(
                f"{self._lost:,} file(s) of the results are lost or damaged in the bucket, the rest was fetched; "
                f"the first: {self._first_lost}"
            ) from self._first_lost

    def outcome(self) -> FetchReport:
        """What is in the folder now."""
        folder, summary, progress = self._target.path, self._summary, self._progress
        cancelled = sum(results.totals.cancelled for results in self._results)
        outstanding = sum(results.totals.outstanding for results in self._results)
        return FetchReport(
            folder=folder,
            report=folder / REPORT,
            merged=folder / (LINES if (folder / LINES).exists() else ANNOTATIONS),
            layer=self._layer,
            layer_note=self._layer_note,
            warnings=summary.warnings,
            failures=folder / FAILURES,
            failed_by=dict(summary.failures.most_common()),
            task=self._results[-1].record.task,
            jobs=tuple(results.record.job for results in self._results),
            is_complete=all(results.is_complete for results in self._results),
            items=summary.done + summary.failed + cancelled + outstanding,
            done=summary.done,
            failed=summary.failed,
            cancelled=cancelled,
            outstanding=outstanding,
            annotations=summary.instances,
            area_m2=summary.area_m2,
            files_fetched=progress.files,
            files_kept=progress.files_kept,
            bytes_fetched=progress.bytes,
        )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector sleep longer: a shard's commit is many small objects, and none of them is garbage yet.

    Measured over 2,000 files: a tenth of all CPU went into looking through them and through boto3's own.
    """
    usual = gc.get_threshold()
    gc.set_threshold(50_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
