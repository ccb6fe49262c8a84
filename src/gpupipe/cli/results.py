"""`fetch`: results into a folder, with a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.screen import Screen, going_on

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened
    from gpupipe.jobs.fetch import FetchProgress, FetchReport

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
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
        help="The newest result of each of its images.",
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
    from gpupipe.jobs.fetch import fetch as fetch_results
    from gpupipe.jobs.listing import choose_job

    chosen = "" if project else choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)[1]
    name = project or chosen
    with (
        going_on(f"Go on with `gpupipe fetch {'--project ' if project else ''}{name}`."),
        screen.progress("items") as bar,
    ):

        def on_progress(now: FetchProgress) -> None:
            bar.total(now.items_total)
            bar.at(now.items)
            bar.now(f"{now.files:,} files, {now.bytes / 1e6:,.1f} MB; {now.files_kept:,} were here")

        return fetch_results(
            opened.aws,
            job=chosen,
            project=project or "",
            pipeline=pipeline or "",
            folder=out,
            cost_usd=_cost_usd(opened, chosen, pipeline),
            on_progress=on_progress,
        )


def _cost_usd(opened: Opened, job: str, pipeline: str | None) -> float | None:
    """What a job's machines cost; None where nothing is billed, or for a project of many jobs."""
    if opened.is_local or not job:
        return None
    from gpupipe.jobs.listing import choose_job
    from gpupipe.jobs.watch import observe

    ctx, job = choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
    return observe(ctx, job, with_log=False).cost_usd


def finish(report: FetchReport, screen: Screen, *, open_: bool, attached: bool | None = None) -> None:
    """Tell what was fetched, open the report, and exit with 3 where items failed; `attached` is part of the document
    where a command has submitted too."""
    more = {} if attached is None else {"attached": attached}
    screen.answer({**_document(report), **more}, text=_text(report))
    if open_:
        typer.launch(report.report.absolute().as_uri())
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def _document(report: FetchReport) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(report).items()}


def _text(report: FetchReport) -> str:
    from gpupipe.jobs.advice import warnings_told

    mega = report.bytes_fetched / 1e6
    lines = [f"{report.done:,} done, {report.failed:,} failed, {report.annotations:,} annotations"]
    if report.area_m2 is not None:
        lines[0] += f" ({report.area_m2:,.1f} m²)"
    if report.cancelled:
        lines[0] += f", {report.cancelled:,} cancelled"
    if not report.is_complete:
        lines.append(f"The job goes on: {report.outstanding:,} items are outstanding. Fetch again later.")
    lines.append(f"{report.files_fetched:,} files fetched ({mega:,.1f} MB), {report.files_kept:,} were here already")
    if report.failed:
        lines.append(f"failures: {report.failures}")
    lines.append(f"COCO:     {report.merged}")
    if report.layer or report.layer_note:
        aside = f" ({report.layer_note})" if report.layer and report.layer_note else ""
        lines.append(f"map:      {report.layer or report.layer_note}{aside}")
    lines += [f"warning:  {told}" for told in warnings_told(report.warnings)]
    lines += [f"report:   {report.report.absolute()}"]
    return "\n".join(lines)
