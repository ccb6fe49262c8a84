"""`init` and `config`: the configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.help import Commands
from gpupipe.cli.screen import Screen

config = Commands(name="config")


def init(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            autocompletion=complete.kinds,
            help="Kind of the first pipeline: queue, endpoint, or that of an installed package.",
        ),
    ] = "queue",
    target: Annotated[
        str, typer.Option("--target", metavar="TARGET", autocompletion=complete.targets, help="local or aws.")
    ] = "local",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the stack; default: the folder's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a commented gpupipe.toml.

    Example: gpupipe init --name field --target local
    """
    from gpupipe.config_file import write_new

    path = Path(context.obj or "gpupipe.toml").absolute()
    write_new(path, kind=kind, name=name, target=target)
    Screen(as_json=as_json).answer({"config": str(path)}, text=f"wrote {path}; next: `gpupipe plan`, then `gpupipe up`")


@config.command("show")
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print every setting with its value, defaults included.

    Example: gpupipe config show
    """
    from gpupipe.config import find_file, load

    path = find_file(context.obj)
    document = load(path).model_dump(mode="json", serialize_as_any=True)
    screen = Screen(as_json=as_json)
    screen.say(f"{path}")
    screen.answer(document, text="\n".join(_lines(document)))


@config.command("schema")
def schema(
    as_json: Annotated[bool, typer.Option("--json", help="The same; the schema is JSON anyway.")] = False,
) -> None:
    """Print the JSON Schema of gpupipe.toml, for editors.

    Example: gpupipe config schema > gpupipe.schema.json
    """
    from gpupipe.config import schema as json_schema

    Screen(as_json=True).answer(json_schema())


def _lines(value: object, prefix: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _lines(item, f"{prefix}.{key}" if prefix else key)]
    return [f"{prefix} = {value!r}"]
