"""`outputs`: what other programs may want to know of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.parameters import Json, OnlyPipeline
from gpupipe.cli.screen import Screen

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened


def outputs(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=complete.outputs,
            help="Print this value alone: bucket, or segment.bucket where there are several pipelines.",
        ),
    ] = None,
    pipeline: OnlyPipeline = None,
    as_json: Json = False,
) -> None:
    """Print what other programs need to reach the stack: bucket, queues, endpoint, topics.

    Example: gpupipe outputs segment.bucket
    """
    from gpupipe.cli.opened import open_stack

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    found = outputs_of(opened, pipeline)
    if name is None:
        screen.answer(found, text="\n".join(lines(found)))
        return
    value = _called(name, found)
    screen.answer({"name": name, "value": value}, text=value)


def outputs_of(opened: Opened, pipeline: str | None = None) -> Mapping[str, Mapping[str, str]]:
    """By pipeline; of one, where it is named. Raises ConfigError, and NotDeployedError where there is nothing."""
    from gpupipe.provision import outputs

    return outputs(opened.config, opened.aws, pipeline=pipeline or "")


def lines(outputs: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """`segment.bucket = …`, one a line."""
    for pipeline, values in outputs.items():
        yield from (f"{pipeline}.{name} = {value}" for name, value in values.items())


def _called(name: str, outputs: Mapping[str, Mapping[str, str]]) -> str:
    from gpupipe.errors import UsageError
    from gpupipe.settings import ended, nearest

    whole = {f"{pipeline}.{one}": value for pipeline, values in outputs.items() for one, value in values.items()}
    if name in whole:
        return whole[name]
    alike = [one for one in whole if one.endswith(f".{name}")]
    if len(alike) > 1:
        raise UsageError(f"several pipelines have {name!r}: {', '.join(alike)}.", hint="Name one of these.")
    if not alike:
        raise UsageError(
            ended(f"there is no output {name!r}{nearest(name, _typed(whole))}"), hint="See `gpupipe outputs`."
        )
    return whole[alike[0]]


def _typed(whole: Mapping[str, str]) -> list[str]:
    """What a person may have meant to type: `segment.bucket`, or `bucket`."""
    return [*whole, *dict.fromkeys(name.partition(".")[2] for name in whole)]
