"""Help as people read it: every summary whole, and arguments called by words, whatever the terminal's width.

Typer cuts summaries to the width that is left, and writes an argument as `{PATH}`, an optional one as `[[JOB]]`. What
is here replaces just that; commands get it by being added to `Commands`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

SAID = (
    (r"([^[ ]+)<=x<=([^];]+)", r"\1 to \2"),
    (r"x>=", "at least "),
    (r"x<=", "at most "),
    (r"\\\[", "["),  # typer 0.20 escapes it for rich, whether rich writes the help or not
)
"""How typer writes which numbers are taken and what is required, and how it is said."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """One command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS]`, then the arguments as they are typed."""
        return ["[OPTIONS]", *(_in_usage(one) for one in _arguments(self.get_params(ctx)))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, each with its help."""
        _write_parameters(self.get_params(ctx), ctx, formatter)


class Group(TyperGroup):
    """Commands under one name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Its own options, then its commands."""
        _write_parameters(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each with the first sentence of its help, wrapped and never cut."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        shown = [(name, one.get_short_help_str(sys.maxsize)) for name, one in commands if one and not one.hidden]
        if shown:
            with formatter.section("Commands"):
                formatter.write_dl(shown)


class Commands(typer.Typer):
    """The whole command line, or a group of it."""

    def __init__(self, **settings: Any) -> None:
        # Without markup help is plain: rich would double the time that `--help` takes.
        super().__init__(**{"cls": Group, "no_args_is_help": True, "rich_markup_mode": None, **settings})

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Add the function below as a command; its docstring is the help."""

        def add(function: Function) -> Function:
            # \b keeps click from wrapping the example, which is there to be copied.
            text = (function.__doc__ or "").replace("Example: ", "\b\n    Example: ")
            return super(Commands, self).command(name, **{"cls": Command, "help": text, **settings})(function)

        return add


def _arguments(parameters: list[Any]) -> Iterator[Any]:
    return (one for one in parameters if one.param_type_name == "argument" and not one.hidden)


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _in_usage(argument: Any) -> str:
    """`PATH`, `PATH...` for several, `[JOB]` for what may be left out."""
    word = _word(argument) + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _in_words(text: str) -> str:
    for written, said in SAID:
        text = re.sub(written, said, text)
    return text


def _write_parameters(parameters: list[Any], ctx: Any, formatter: Any) -> None:
    arguments = [(_word(one), _in_words(one.get_help_record(ctx)[1])) for one in _arguments(parameters)]
    records = filter(None, (one.get_help_record(ctx) for one in parameters if one.param_type_name == "option"))
    options = [(name, _in_words(text)) for name, text in records]
    for title, rows in (("Arguments", arguments), ("Options", options)):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
