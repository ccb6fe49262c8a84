"""What a command shows: results on stdout, everything else on stderr; tables for people, JSON for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpupipe.errors import GpupipeError, StoppedError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gpupipe.cli.progress import Progress

Document = Mapping[str, Any] | Sequence[Any]


class Screen:
    """Where one command's output goes.

    With `as_json`, stdout holds exactly one JSON document and tables are not shown.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def err(self) -> Console:
        """For progress, notices and questions."""
        return _console(stderr=True)

    def say(self, text: str) -> None:
        """A line for people, on stderr; plain text, never markup."""
        self.err.print(text, markup=False, highlight=False, soft_wrap=True)

    def answer(self, document: Document, *, text: str | None = None, table: Table | None = None) -> None:
        """The command's result: the document for programs, or text and table for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
            return
        out = _console(stderr=False)
        if table is not None:
            out.print(table)
        if text is not None:
            out.print(text, markup=False, highlight=False, soft_wrap=True)

    def aside(self) -> Screen:
        """A screen for what is shown on the way to the answer: on stderr, and not at all in JSON."""
        return _Aside(as_json=self.as_json)

    def quiet(self) -> Screen:
        """A screen that shows progress only, neither plans nor answers."""
        return _Aside(as_json=True)

    @contextlib.contextmanager
    def progress(self, unit: str) -> Iterator[Progress]:
        """Progress of something long, counted in `unit`."""
        from gpupipe.cli.progress import Bar, Lines

        with Bar(self.err, unit) if self.err.is_terminal else Lines(self.say, unit) as progress:
            yield progress

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask on a terminal; elsewhere only `--yes` agrees."""
        if yes:
            return True
        if not sys.stdin.isatty():
            self.say(f"{question} Not a terminal: pass --yes to agree.")
            return False
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


class _Aside(Screen):
    """Shows answers on stderr, for people only."""

    def answer(self, document: Document, *, text: str | None = None, table: Table | None = None) -> None:
        if self.as_json:
            return
        if table is not None:
            self.err.print(table)
        if text:
            self.say(text)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def new_table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A table in the house's style; `right` names the columns that hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


@contextlib.contextmanager
def going_on(hint: str) -> Iterator[None]:
    """Ctrl-C inside ends at once, with a hint how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted.", hint=hint) from error


def show_error(error: GpupipeError) -> None:
    """The error on stderr, and as the one JSON document where a program asked for JSON."""
    if "--json" in sys.argv:
        document = {"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    console = _console(stderr=True)
    console.print("[bold red]error:[/]", end=" ")
    console.print(error.message, markup=False, soft_wrap=True)
    if error.hint:
        console.print(f"  {error.hint}", markup=False, soft_wrap=True)
