"""`fetch`: results into a folder, with a page to look at; `open`: that page again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpupipe.cli import complete
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, going_on

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened
    from gpupipe.jobs.fetch import FetchProgress, FetchReport
    from gpupipe.jobs.places import Places

Job = Annotated[
    str | None,
    typer.Argument(metavar="JOB", autocompletion=complete.jobs, help="Job id, or its beginning; default: the newest."),
]
Project = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="PROJECT",
        autocompletion=complete.projects,
        help="The newest result of each of its images or values.",
    ),
]
Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline", metavar="PIPELINE", autocompletion=complete.pipelines, help="Needed where a project has several."
    ),
]
OutFolder = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Default: results/JOB, or results/PROJECT.")
]
Open = Annotated[bool, typer.Option("--open", help="Show report.html in the browser.")]

SOME_FAILED = 3


def fetch(
    context: typer.Context,
    job: Job = None,
    project: Project = None,
    pipeline: Pipeline = None,
    out: OutFolder = None,
    open_: Open = False,
    as_json: Json = False,
) -> None:
    """Download results, verified and merged: COCO, masks, overlays and report.html.

    Only what is new is downloaded; interrupted, the same command goes on.

    Example: gpupipe fetch --project field7 -o field7-results --open
    """
    from gpupipe.cli.opened import open_stack

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    report = bring(opened, screen, job=job, project=project, pipeline=pipeline, out=out)
    finish(report, screen, open_=open_)


def bring(
    opened: Opened,
    screen: Screen,
    *,
    job: str | None,
    project: str | None = None,
    pipeline: str | None = None,
    out: Path | None,
) -> FetchReport:
    """Fetch with progress."""
    from gpupipe.jobs.awaited import brought
    from gpupipe.jobs.fetch import fetch as fetch_results
    from gpupipe.jobs.folder import DEFAULT_FOLDER
    from gpupipe.jobs.listing import choose_job

    ctx, chosen = (None, "") if project else choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
    name = project or chosen
    into = f" -o {shlex.quote(str(out))}" if out else ""
    _places().note(out or DEFAULT_FOLDER / name)
    with (
        going_on(f"Go on with `gpupipe fetch {'--project ' if project else ''}{name}{into}`."),
        screen.progress("items") as bar,
    ):

        def on_progress(now: FetchProgress) -> None:
            bar.total(now.items_total)
            bar.at(now.items)
            bar.now(f"{now.files:,} files, {now.bytes / 1e6:,.1f} MB; {now.files_kept:,} were here")

        report = fetch_results(
            opened.aws,
            job=chosen,
            project=project or "",
            pipeline=pipeline or "",
            folder=out,
            cost_usd=_cost_usd(opened, chosen, pipeline),
            on_progress=on_progress,
        )
        if ctx is not None:
            brought(ctx, chosen)
        return report


def _cost_usd(opened: Opened, job: str, pipeline: str | None) -> float | None:
    """What a job's machines cost; None where nothing is billed, or for a project of many jobs."""
    if opened.is_local or not job:
        return None
    from gpupipe.jobs.listing import choose_job
    from gpupipe.jobs.watch import observe

    ctx, job = choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
    return observe(ctx, job, with_log=False).cost_usd


def require_room(opened: Opened, out: Path, *, again: bool) -> None:
    """Refuse a folder before anything is sent, instead of when all is done and paid for.

    It may hold what a job has brought so far that is open, or whose results a stopped command still waits for: the same
    command attaches to that one.
    """
    from gpupipe.jobs.folder import ResultFolder
    from gpupipe.jobs.listing import contexts
    from gpupipe.jobs.still_open import open_state
    from gpuworker.contract import manifest_key

    def is_open(holds: Mapping[str, Any]) -> bool:
        if again or holds.get("stack") != opened.aws.stack.id or not holds.get("job"):
            return False
        job = str(holds["job"])  # which an earlier stack of this name may have had, and this one not
        within = contexts(opened.aws, opened.config)
        return any(ctx.exists(manifest_key(job)) and open_state(ctx, job) for ctx in within)

    ResultFolder(out).require_room(is_open)


def finish(report: FetchReport, screen: Screen, *, open_: bool, attached: bool | None = None) -> None:
    """Tell what was fetched, open the report, and exit with 3 where items failed; `attached` is part of the document
    where a command has submitted too."""
    more = {} if attached is None else {"attached": attached}
    screen.answer({**_document(report), **more}, text=_text(report))
    if open_:
        _show(report.report, screen)
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def open_(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            autocompletion=complete.jobs,
            help="Job id, or its beginning; default: the newest that was fetched.",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="PROJECT",
            autocompletion=complete.projects,
            help="What was fetched of this project.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="What was fetched into this folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the report of fetched results in the browser, again; prints where it is.

    Needs neither AWS nor gpupipe.toml: it shows what `fetch` wrote on this machine.

    Example: gpupipe open --project field7
    """
    from gpupipe.jobs.places import place_at

    screen, asked = Screen(as_json=as_json), {"job": job or "", "project": project or ""}
    place = place_at(folder, **asked) if folder else _places().find(**asked)
    if not place.is_here:
        screen.say("note: nothing of it was fetched from this folder; this is the newest on this machine")
    screen.say(place.name)
    shown = _show(place.report, screen)
    told = {**place.holds, "folder": str(place.folder), "report": str(place.report), "opened": shown}
    screen.answer(told, text=str(place.report))


def _show(report: Path, screen: Screen) -> bool:
    """Open a report; False, and said, where no browser is."""
    from gpupipe.cli.browser import show

    shown = show(report)
    if not shown:
        screen.say(f"note: no browser could be started here; open it yourself: {report.absolute().as_uri()}")
    return shown


def _places() -> Places:
    """Folders that results were fetched into, as this user's own state notes them."""
    from gpupipe.errors import TargetError
    from gpupipe.jobs.places import Places
    from gpupipe.local.ownership import state_home

    try:
        notes = state_home() / "gpupipe" / "fetched"
    except TargetError:
        notes = None
    return Places(notes=notes, here=Path.cwd())


def _document(report: FetchReport) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(report).items()}


def _text(report: FetchReport) -> str:
    from gpupipe.jobs.advice import failures_told, warnings_told
    from gpupipe.jobs.folder import ANNOTATIONS
    from gpupipe.tasks import inputs_of, takes_files

    mega = report.bytes_fetched / 1e6
    is_coco = report.merged.name == ANNOTATIONS
    lines = [f"{report.done:,} done, {report.failed:,} failed"]
    if is_coco:
        lines[0] += f", {report.annotations:,} annotations"
    if report.area_m2 is not None:
        lines[0] += f" ({report.area_m2:,.1f} m²)"
    if report.cancelled:
        lines[0] += f", {report.cancelled:,} cancelled"
    if not report.is_complete:
        lines.append(f"The job goes on: {report.outstanding:,} items are outstanding. Fetch again later.")
    lines.append(f"{report.files_fetched:,} files fetched ({mega:,.1f} MB), {report.files_kept:,} were here already")
    words, is_value = inputs_of(report.task), not takes_files(report.task)
    lines += [f"failed:   {told}" for told in failures_told(report.failed_by, words=words, is_value=is_value)]
    if report.failed:
        lines.append(f"failures: {report.failures}")
    lines.append(f"{'COCO:    ' if is_coco else 'results: '} {report.merged}")
    if report.layer or report.layer_note:
        aside = f" ({report.layer_note})" if report.layer and report.layer_note else ""
        lines.append(f"map:      {report.layer or report.layer_note}{aside}")
    lines += [f"warning:  {told}" for told in warnings_told(report.warnings)]
    lines += [f"report:   {report.report.absolute()}"]
    return "\n".join(lines)
