"""`submit`, `watch`, `run`, `jobs`: work and what becomes of it."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from gpupipe.cli import complete
from gpupipe.cli.parameters import Json
from gpupipe.cli.results import SOME_FAILED, Open, OutFolder
from gpupipe.cli.screen import Screen, going_on, plural

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened
    from gpupipe.jobs import JobsContext
    from gpupipe.jobs.listing import JobSummary
    from gpupipe.jobs.submit import SubmitProgress, SubmittedJob
    from gpupipe.jobs.watch import JobView

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Images, folders, patterns, zip archives; where the task takes values, .jsonl and .json files, or - for "
        "standard input.",
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option("--value", metavar="JSON", help="A value, for a task that takes them; repeat for several."),
]
Project = Annotated[
    str,
    typer.Option(
        "--project", metavar="PROJECT", autocompletion=complete.projects, help="Your name for this set of images."
    ),
]
MaybeProject = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="PROJECT",
        autocompletion=complete.projects,
        help="Your name for this set of images; an s3:// address names it.",
    ),
]
Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline", metavar="PIPELINE", autocompletion=complete.pipelines, help="Needed where there are several."
    ),
]
Prompts = Annotated[
    list[str] | None, typer.Option("--prompt", metavar="WORDS", help="What to find; repeat for several.")
]
NegativePrompts = Annotated[
    list[str] | None,
    typer.Option("--negative-prompt", metavar="WORDS", help="What not to take for it; repeat for several."),
]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the task; repeat for several.")
]
NoLinks = Annotated[bool, typer.Option("--no-links", help="Follow no link; else links out lead to images only.")]
Hold = Annotated[bool, typer.Option("--hold", help="Start no machine for it before `gpupipe start`.")]
Again = Annotated[bool, typer.Option("--again", help="A new job, though one of the same inputs is open.")]

LOOK_EVERY_S = {True: 1.0, False: 2.0}
"""Seconds between two looks at a job, on the local target and on AWS."""

STEPS = {
    "find": "looking for inputs",
    "compare": "comparing with what is there",
    "upload": "uploading",
    "start": "starting",
}


def submit(
    context: typer.Context,
    paths: Paths = None,
    project: MaybeProject = None,
    pipeline: Pipeline = None,
    values: Values = None,
    prompts: Prompts = None,
    negative_prompts: NegativePrompts = None,
    options: Options = None,
    hold: Hold = False,
    again: Again = False,
    no_links: NoLinks = False,
    as_json: Json = False,
) -> None:
    """Upload images, or values for a task that takes them, and start a job with them; prints the job's id.

    Interrupted, the same command goes on where it was; what is there already is not uploaded again.
    While its job is open, the same command attaches to that job; with --again it makes another.
    With s3://BUCKET/incoming/PROJECT/ it takes up what was dropped there and got lost.
    Boxes that show what to find (engine sam3) are read from IMAGE.prompts.json beside each image:
    {"boxes": [{"box": [x, y, width, height], "positive": true}]}, in pixels.
    Values are JSON, one a line or in an array: {"prompt": "a red fox", "seed": 7}, or a text in quotes, which is a
    prompt. A field "name" or "id" names the result.

    Example: gpupipe submit ./images --project field7 --prompt car --prompt person
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.errors import UsageError
    from gpupipe.jobs.rescan import is_rescan

    screen = Screen(as_json=as_json)
    _require_something(paths, values)
    if paths and any(map(is_rescan, paths)):
        _rescan(
            context,
            screen,
            paths,
            pipeline,
            extras=[project, values, prompts, negative_prompts, options, hold, again, no_links],
        )
        return
    if not project:
        hint = "Add --project NAME, your name for this set of images or values."
        raise UsageError("what is submitted needs a project.", hint=hint)
    job = send(
        open_stack(context.obj, screen),
        screen,
        paths or [],
        values=values,
        project=project,
        pipeline=pipeline,
        prompts=prompts,
        negative_prompts=negative_prompts,
        options=options,
        hold=hold,
        again=again,
        follow_links=not no_links,
    )
    screen.answer({**vars(job), "next": f"gpupipe watch {job.job}"}, text=job.job)


def _require_something(paths: list[str] | None, values: list[str] | None) -> None:
    from gpupipe.errors import UsageError

    if not paths and not values:
        hint = "Name images, folders, patterns or archives; where the task takes values, FILE.jsonl or --value JSON."
        raise UsageError("there is nothing to submit.", hint=hint)


def _rescan(
    context: typer.Context, screen: Screen, paths: list[str], pipeline: str | None, *, extras: list[object]
) -> None:
    from gpupipe.cli.opened import open_stack
    from gpupipe.errors import UsageError
    from gpupipe.jobs.rescan import rescan

    if len(paths) > 1 or any(extras):
        hint = "The address names the project, and gpupipe.toml ([pipelines.NAME.dropins]) its options."
        raise UsageError("an s3:// address stands alone.", hint=hint)
    ctx = open_stack(context.obj, screen).context(pipeline)
    with going_on("The same command begins anew."), screen.progress("objects") as bar:
        found = rescan(ctx, paths[0], on_found=bar.at)
    text = f"{plural(found.objects, 'object')} ({found.bytes / 1e6:,.1f} MB) found; what is new becomes part of"
    next_ = f"gpupipe watch --project {found.project}"
    screen.answer({**vars(found), "next": next_}, text=f"{text} {found.project}'s drop-in job\nnext: {next_}")


def send(
    opened: Opened,
    screen: Screen,
    paths: list[str],
    *,
    project: str,
    pipeline: str | None = None,
    values: list[str] | None = None,
    prompts: list[str] | None = None,
    negative_prompts: list[str] | None = None,
    options: list[str] | None = None,
    hold: bool = False,
    again: bool = False,
    follow_links: bool = True,
) -> SubmittedJob:
    """Submit with progress, and tell on stderr what was done."""
    from gpupipe.cli.submitted import lines_of
    from gpupipe.jobs.submit import submit as submit_job
    from gpupipe.tasks import takes_files

    ctx = opened.context(pipeline)
    with screen.progress("files" if takes_files(ctx.settings.task) else "items") as bar:

        def on_progress(now: SubmitProgress) -> None:
            bar.total(now.files_total)
            bar.at(now.files)
            bar.now(f"{STEPS[now.step]}, {now.bytes / 1e6:,.1f} of {now.bytes_total / 1e6:,.1f} MB")

        job = submit_job(
            ctx,
            paths,
            project=project,
            prompts=prompts or (),
            negative_prompts=negative_prompts or (),
            assignments=options or (),
            hold=hold,
            again=again,
            follow_links=follow_links,
            values=values or (),
            stdin=_standard_input(screen) if "-" in paths else None,
            on_progress=on_progress,
        )
    for line in lines_of(job, hold=hold):
        screen.say(line)
    return job


def _standard_input(screen: Screen) -> BinaryIO:
    """Bytes of whoever is piped in; a person who types is told how to end."""
    from gpupipe.errors import UsageError

    if sys.stdin is None:
        raise UsageError("standard input is closed.", hint="Pipe JSON into the command, or name a file.")
    if sys.stdin.isatty():
        screen.say("reading values from standard input; Ctrl-D ends it")
    return getattr(sys.stdin, "buffer", None) or BytesIO(sys.stdin.read().encode())


def watch(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", autocompletion=complete.jobs, help="Job id, or its beginning; default: the newest."
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project", metavar="PROJECT", autocompletion=complete.projects, help="The newest job of this project."
        ),
    ] = None,
    pipeline: Pipeline = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document when the job is over.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print a JSON line at every look.")] = False,
) -> None:
    """Follow a job until it is finished: counts, rate, time left, cost, machines, and why it waits.

    Ctrl-C ends the watching, never the job.

    Example: gpupipe watch --project field7
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.listing import choose_job

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    if job:
        ctx, chosen = choose_job(opened.aws, opened.config, job=job, project=project, pipeline=pipeline)
    else:
        ctx, chosen = _awaited(opened, screen, project=project, pipeline=pipeline)
    see_through(ctx, screen, chosen, as_jsonl=as_jsonl)


def _awaited(opened: Opened, screen: Screen, *, project: str | None, pipeline: str | None) -> tuple[JobsContext, str]:
    """The newest job; where what was dropped in is none yet, waits for it and says for what."""
    from gpupipe.cli.watching import repeating
    from gpupipe.jobs.arriving import newest_job

    again = f"gpupipe watch --project {project}" if project else "gpupipe watch"
    with going_on(f"What was dropped in becomes a job all the same. Watch it with `{again}`."):
        return newest_job(
            opened.aws,
            opened.config,
            project=project,
            pipeline=pipeline,
            interval_s=LOOK_EVERY_S[opened.is_local],
            on_wait=repeating(screen),
        )


def see_through(ctx: JobsContext, screen: Screen, job: str, *, as_jsonl: bool = False, final: bool = True) -> None:
    """Follow a job on the screen; with `final` its end is the command's answer and decides the exit code."""
    from gpupipe.cli.watching import show_end, watching
    from gpupipe.jobs.watch import follow

    is_local = ctx.aws.is_local
    with (
        going_on(f"The job goes on. Watch it with `gpupipe watch {job}`."),
        watching(screen, is_local=is_local, as_jsonl=as_jsonl) as show,
    ):
        for view in follow(ctx, job, interval_s=LOOK_EVERY_S[is_local], with_log=screen.err.is_terminal):
            show(view)
    if not final:
        return
    if not as_jsonl:
        show_end(screen, view, is_local=is_local)
    if view.job.state == "cancelled" or view.needs_person:
        raise typer.Exit(1)
    if view.failed:
        raise typer.Exit(SOME_FAILED)


def run(
    context: typer.Context,
    project: Project,
    paths: Paths = None,
    pipeline: Pipeline = None,
    values: Values = None,
    prompts: Prompts = None,
    negative_prompts: NegativePrompts = None,
    options: Options = None,
    again: Again = False,
    no_links: NoLinks = False,
    out: OutFolder = None,
    open_: Open = False,
    as_json: Json = False,
) -> None:
    """Submit, watch and fetch in one.

    Stopped before the results are there, the same command goes on with its job; with --again it makes another.

    Example: gpupipe run ./images --project field7 --prompt car -o field7-results
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.cli.results import bring, finish, require_room
    from gpupipe.jobs.awaited import awaits

    screen = Screen(as_json=as_json)
    _require_something(paths, values)
    opened = open_stack(context.obj, screen)
    if out is not None:
        require_room(opened, out, again=again)
    job = send(
        opened,
        screen,
        paths or [],
        project=project,
        pipeline=pipeline,
        values=values,
        prompts=prompts,
        negative_prompts=negative_prompts,
        options=options,
        again=again,
        follow_links=not no_links,
    )
    screen.say(f"job {job.job}")
    awaits(opened.context(job.pipeline), job.job)
    see_through(opened.context(job.pipeline), screen, job.job, final=False)
    report = bring(opened, screen, job=job.job, project=None, pipeline=job.pipeline, out=out)
    finish(report, screen, open_=open_, attached=job.attached)


def jobs(
    context: typer.Context,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="PROJECT", autocompletion=complete.projects, help="Only this project's."),
    ] = None,
    pipeline: Pipeline = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", min=1, help="The newest so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    Example: gpupipe jobs --project field7
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.cli.watching import document, jobs_table
    from gpupipe.jobs.listing import contexts, list_jobs

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    within = contexts(opened.aws, opened.config, pipeline)
    rows = _looked_at(within, list(list_jobs(within, project=project, limit=limit)))
    text = None if rows else "No job yet: `gpupipe submit FOLDER --project NAME` starts one."
    screen.answer([document(view) for _, view in rows], table=jobs_table(rows) if rows else None, text=text)


def _looked_at(within: list[JobsContext], found: list[JobSummary]) -> list[tuple[JobSummary, JobView]]:
    from functools import partial

    from gpupipe.aws import together
    from gpupipe.jobs.watch import observe

    contexts = {ctx.pipeline: ctx for ctx in within}
    views = together(*(partial(observe, contexts[job.pipeline], job.job, with_log=False) for job in found))
    return list(zip(found, views, strict=True))
