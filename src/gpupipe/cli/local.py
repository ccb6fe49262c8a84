"""`local`: the embedded target on this machine."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.help import Commands
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen

local = Commands(name="local")


@local.command("env")
def env(context: typer.Context, as_json: Json = False) -> None:
    """Print what the AWS CLI and other tools need to reach the local target.

    The key is the emulated account's and opens nothing but this machine's emulators.

    Example: eval "$(gpupipe local env)"; aws s3 ls
    """
    from gpupipe.cli.opened import open_local
    from gpupipe.local.control import shell_environment

    screen = Screen(as_json=as_json)
    variables = shell_environment(open_local(context.obj, screen).target)
    if old := _aws_cli_1():
        screen.say(
            f"note: {old} is version 1 of the AWS CLI, whose `aws sqs` asks AWS itself whatever these variables say. "
            'Use version 2, or give each `aws sqs` --endpoint-url "$AWS_ENDPOINT_URL".'
        )
    text = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    screen.answer(variables, text=text)


def _aws_cli_1() -> str | None:
    """Where the `aws` of this shell is, if that is version 1."""
    found = shutil.which("aws")
    if found is None:
        return None
    try:
        told = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # no reason to withhold the variables
    return found if "aws-cli/1." in told.stdout + told.stderr else None


@local.command("interrupt")
def interrupt(
    context: typer.Context,
    instance: Annotated[
        str | None,
        typer.Argument(
            metavar="INSTANCE", autocompletion=complete.machines, help="Instance id; the only running one if left out."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rehearse a spot loss: announce it to a machine now, take the machine away after the notice.

    Example: gpupipe local interrupt
    """
    from gpupipe.cli.opened import open_local
    from gpupipe.local import control

    screen = Screen(as_json=as_json)
    opened = open_local(context.obj, screen).opened
    notice_s = opened.config.local.interrupt_notice_s
    done = control.interrupt(opened.path, stack_id=opened.config.stack.id, instance_id=instance, notice_s=notice_s)
    screen.answer(done, text=f"{done['instance_id']} is told now and taken away in {notice_s:.0f} s")


@local.command("stop")
def stop(context: typer.Context, as_json: Json = False) -> None:
    """End the local target's processes and keep its files; the next command but `status` needs `up` again.

    Example: gpupipe local stop
    """
    from gpupipe.cli.opened import require_local
    from gpupipe.local import control

    path, config = require_local(context.obj)
    control.stop(path, stack_id=config.stack.id, remove=False)
    Screen(as_json=as_json).answer({"stopped": config.stack.id}, text=f"the local target of {config.stack.id} is off")
