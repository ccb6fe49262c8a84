"""The command line as a whole: which commands there are, in the order in which a person meets them."""

from __future__ import annotations

from typing import Annotated

import typer

from gpupipe.cli import (
    control,
    demo,
    dlq,
    evaluate,
    invoke,
    local,
    logs,
    outputs,
    project,
    results,
    secrets,
    stack,
    work,
)
from gpupipe.cli.help import Commands

app = Commands(
    name="gpupipe",
    help="Run GPU image work in your own AWS account: one TOML file, five commands, nothing left running.",
    epilog="Start with `gpupipe demo`, which needs no AWS account, then `gpupipe init`.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", envvar="GPUPIPE_CONFIG", help="Configuration; default: ./gpupipe.toml."
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    context.obj = config
    if version:
        from gpupipe import __version__

        typer.echo(f"gpupipe {__version__}")
        raise typer.Exit


for command in (
    *(demo.demo, project.init, stack.plan, stack.up, stack.status, outputs.outputs, stack.down),
    *(work.submit, work.watch, results.fetch, results.open_, evaluate.evaluate, work.run, work.jobs, invoke.invoke),
    *(control.cancel, control.retry, logs.logs, control.start, control.stop),
):
    app.command(command.__name__.rstrip("_"))(command)  # `open_` is called `open`

for group, summary in (
    (dlq.dlq, "What nobody could work on: show it, send it again, forget it."),
    (project.config, "The configuration as gpupipe understands it."),
    (secrets.secrets, "Tokens and keys that pipelines need; their values are never shown."),
    (local.local, "The embedded target on this machine."),
):
    app.add_typer(group, help=summary)
