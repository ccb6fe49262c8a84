"""`dlq`: what nobody could work on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.help import Commands
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, add_row, new_table, plural

if TYPE_CHECKING:
    from rich.table import Table

    from gpupipe.jobs.dead_letters import DeadLetter

dlq = Commands(name="dlq")

Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline", metavar="PIPELINE", autocompletion=complete.pipelines, help="Needed where there are several."
    ),
]


@dlq.command("list")
def list_(context: typer.Context, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """Show dead letters: shards and events that are not tried again by themselves.

    Example: gpupipe dlq list
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.dlq import list_dead
    from gpupipe.tasks import inputs_of

    screen = Screen(as_json=as_json)
    ctx = open_stack(context.obj, screen).context(pipeline)
    letters = list_dead(ctx)
    text = "\n`gpupipe dlq redrive` sends them again, `gpupipe dlq purge` forgets them."
    screen.answer(
        [letter.document() for letter in letters],
        table=_table(letters, inputs_of(ctx.settings.task)[1]) if letters else None,
        text=text if letters else "No dead letter: everything was taken by somebody.",
    )


@dlq.command("redrive")
def redrive(context: typer.Context, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """Send all dead letters again.

    Example: gpupipe dlq redrive
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.dlq import redrive as send_again

    screen = Screen(as_json=as_json)
    ctx = open_stack(context.obj, screen).context(pipeline)
    count = send_again(ctx)
    again = "sent again" if ctx.has_work_queue else "taken up again; the guard sends them within a minute"
    text = f"{plural(count, 'dead letter')} {again}." if count else "No dead letter: nothing to send again."
    screen.answer({"redriven": count}, text=text)


@dlq.command("purge")
def purge(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    pipeline: Pipeline = None,
    as_json: Json = False,
) -> None:
    """Forget all dead letters; their images stay failures of their jobs, and `retry` can still send those again.

    Example: gpupipe dlq purge --yes
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.dlq import purge as forget

    screen = Screen(as_json=as_json)
    ctx = open_stack(context.obj, screen).context(pipeline)
    screen.confirm(f"Forget all dead letters of pipeline {ctx.pipeline}?", yes=yes)
    count = forget(ctx)
    text = f"{plural(count, 'dead letter')} forgotten."
    if not ctx.has_work_queue:
        text += (
            f"\nDead shards of {ctx.pipeline} are no letters: they stay failures of their jobs "
            "(gpupipe retry JOB --failed)."
        )
    screen.answer({"purged": count}, text=text)


def _table(letters: list[DeadLetter], inputs: str) -> Table:
    """`inputs`: what they are called."""
    table = new_table("what", inputs, "since", "state", "why", right=(inputs,))
    for letter in letters:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(letter.at)) if letter.at else ""
        items = f"{letter.items:,}" if letter.items else ""
        add_row(table, letter.about, items, since, letter.state, letter.reason)
    return table
