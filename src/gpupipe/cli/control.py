"""`cancel`, `retry`, `start`, `stop`: a person steps in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, going_on, plural

if TYPE_CHECKING:
    from gpupipe.jobs.control import GuardAnswer

Job = Annotated[str, typer.Argument(metavar="JOB", autocompletion=complete.jobs, help="Job id, or its beginning.")]
OpenJob = Annotated[
    str, typer.Argument(metavar="JOB", autocompletion=complete.open_jobs, help="Job id, or its beginning.")
]
Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline", metavar="PIPELINE", autocompletion=complete.pipelines, help="Needed where there are several."
    ),
]


def cancel(context: typer.Context, job: OpenJob, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """End a job: what is finished stays and can be fetched, nothing else of it is begun.

    Example: gpupipe cancel 20261121-113052-field7-1f3a
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.cancel import cancel as cancel_job
    from gpupipe.jobs.listing import choose_job
    from gpupipe.tasks import inputs_of

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    ctx, job = choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
    done = cancel_job(ctx, job)
    given_up = plural(done.items_cancelled, *inputs_of(ctx.settings.task))
    text = f"{done.job} is cancelled: {given_up} given up, {done.items_done:,} done before"
    if not done.items_cancelled and not done.items_done:
        text = f"{done.job} is cancelled before it began"
    if done.items_done:
        text += f"\nwhat is done stays: gpupipe fetch {done.job}"
    screen.answer(vars(done), text=text)


def retry(
    context: typer.Context,
    job: Job,
    failed: Annotated[bool, typer.Option("--failed", help="Items that failed; the only choice so far.")] = False,
    pipeline: Pipeline = None,
    as_json: Json = False,
) -> None:
    """Process the failed items of a job again; the results of both are fetched as one.

    Example: gpupipe retry 20261121-113052-field7-1f3a --failed
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.errors import UsageError
    from gpupipe.jobs.listing import choose_job
    from gpupipe.jobs.retry import retry_failed
    from gpupipe.tasks import inputs_of

    if not failed:
        raise UsageError("what shall be tried again?", hint=f"gpupipe retry {job} --failed")
    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    ctx, job = choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
    with going_on("Nothing was sent again. The same command begins anew."), screen.progress("shards") as bar:

        def on_progress(looked_at: int, total: int) -> None:
            bar.total(total)
            bar.at(looked_at)

        done = retry_failed(ctx, job, on_progress=on_progress)
    inputs = plural(done.items, *inputs_of(ctx.settings.task))
    text = f"{done.job}: {inputs} in {plural(done.shards, 'shard')} sent again"
    text = f"{text}\nnext: gpupipe watch {done.job}" if done.items else f"{done.job}: nothing had failed"
    screen.answer(vars(done), text=text)


def start(context: typer.Context, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """Begin jobs that are held or stalled, go on after `stop`, and start a machine or instance now.

    Example: gpupipe start
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs import control

    screen = Screen(as_json=as_json)
    _show(screen, [control.start(open_stack(context.obj, screen).context(pipeline))])


def stop(context: typer.Context, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """Stop all machines and instances until `start`; their work goes back to the queue and nothing is lost.

    Example: gpupipe stop
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs import control

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    # An order to stop is for everything: whoever is in a hurry to stop costs names no pipeline.
    pipelines = [pipeline] if pipeline else list(opened.config.pipelines)
    _show(screen, [control.stop(opened.context(name)) for name in pipelines])


def _show(screen: Screen, answers: list[GuardAnswer]) -> None:
    document = answers[0].document() if len(answers) == 1 else [answer.document() for answer in answers]
    screen.answer(document, text="\n".join(f"{answer.pipeline}: {answer.message}" for answer in answers))
