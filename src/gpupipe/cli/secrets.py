"""`secrets`: tokens and keys that pipelines need. Their values are never arguments, and never shown."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.help import Commands
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, add_row, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from gpupipe.secrets import SecretStatus

secrets = Commands(name="secrets")

Name = Annotated[
    str,
    typer.Argument(
        metavar="SECRET", autocompletion=complete.secrets, help='As in the configuration: token_secret = "hf_token".'
    ),
]


# Further words are taken, to be refused in our own words: the usual refusal would print them.
@secrets.command("set", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def set_(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Give a secret its value, which is asked for without being shown, or read from standard input.

    Example: gpupipe secrets set hf_token < token.txt
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.errors import UsageError
    from gpupipe.secrets import set_value

    if context.args:
        raise UsageError(
            "a value is never an argument: it stays in the shell's history, and other users see it.",
            hint=f"It is asked for, or comes from a file: `gpupipe secrets set {name} < FILE`. Make a new one if "
            "this one was real.",
        )
    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen, start=True)
    is_new = set_value(opened.aws, name, _value(name))
    later = "" if is_new else " A job that is stalled for want of it goes on after `gpupipe start`."
    screen.answer({"name": name, "created": is_new}, text=f"Secret {name} is set.{later}")


@secrets.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Show which secrets there are and who uses them; never their values.

    Example: gpupipe secrets list
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.secrets import list_secrets

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    found = list_secrets(opened.config, opened.aws)
    missing = [one.name for one in found if not one.has_value]
    text = "".join(f"\nSet its value with `gpupipe secrets set {name}`." for name in missing)
    screen.answer(
        [one.document() for one in found],
        table=_table(found) if found else None,
        text=text if found else "No secret: nothing in the configuration names one.",
    )


@secrets.command("delete")
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a secret with its value, for good.

    Example: gpupipe secrets delete hf_token
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.secrets import delete as forget

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    screen.confirm(f"Delete secret {name} of {opened.config.stack.id} with its value?", yes=yes)
    forget(opened.aws, name)
    screen.answer({"deleted": name}, text=f"Secret {name} is deleted.")


def _value(name: str) -> str:
    """From standard input, without the newline that ends a file; on a terminal it is asked for unseen."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"Value of {name} (not shown): ")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _table(found: tuple[SecretStatus, ...]) -> Table:
    table = new_table("secret", "value", "since", "used by")
    for one in found:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed_at)) if one.changed_at else ""
        value = "set" if one.has_value else "missing" if one.exists else "missing (made by `gpupipe up`)"
        add_row(table, one.name, value, since, ", ".join(one.used_by))
    return table
