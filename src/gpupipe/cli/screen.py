"""What a command shows: results on stdout, everything else on stderr; tables for people, JSON for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpupipe.errors import GpupipeError, StoppedError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gpupipe.cli.progress import Progress

Document = Mapping[str, Any] | Sequence[Any]


class Screen:
    """Where one command's output goes.

    With `as_json`, stdout holds exactly one JSON document and tables are not shown.
    """

    has_answered = False
    """Has this process written its JSON document?"""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def err(self) -> Console:
        """For progress, notices and questions."""
        return _console(stderr=True)

    @property
    def out(self) -> Console:
        """For what was asked for."""
        return _console(stderr=False)

    def say(self, text: str) -> None:
        """A line for people, on stderr; plain text, never markup."""
        _write(self.err, text)

    def answer(self, document: Document, *, text: str | None = None, table: Table | None = None) -> None:
        """The command's result: the document for programs, or text and table for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
            Screen.has_answered = True
            return
        self._show(self.out, text, table)

    @staticmethod
    def _show(console: Console, text: str | None, table: Table | None) -> None:
        if table is not None:
            show_table(console, table)
        if text:
            _write(console, text)

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

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask on a terminal; elsewhere only `--yes` agrees. Raises where the answer is no."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} Nobody is there to ask.", hint="Pass --yes to agree.")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise GpupipeError("nothing was changed.")


class _Aside(Screen):
    """Shows answers on stderr, for people only."""

    def answer(self, document: Document, *, text: str | None = None, table: Table | None = None) -> None:
        if not self.as_json:
            self._show(self.err, text, table)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _write(console: Console, text: str) -> None:
    """Plain text: wrapped between words on a terminal, as it is elsewhere."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=not console.is_terminal)


def printable(text: str) -> str:
    """File names and logs come from anywhere: nothing in them may give orders to the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Time in words: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def new_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table in the house's style; `right` names the columns that hold numbers. Cells are plain text."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A line of a table, taken as it is: `[red]` in a file's name is no markup."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells))


def show_table(console: Console, table: Table) -> None:
    """As wide as need be where nobody looks; as blocks where the terminal is too narrow for whole words."""
    from rich.measure import Measurement

    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = Measurement.get(console, console.options.update(max_width=100_000), table).maximum
    needed = Measurement.get(console, console.options.update(max_width=100_000), table).minimum
    if needed > console.width:
        _blocks(console, table)
    elif console.is_terminal:
        console.print(table)
    else:
        with console.capture() as capture:
            console.print(table)
        console.file.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _blocks(console: Console, table: Table) -> None:
    """A row as lines: the first cell, then the rest with their names."""
    first, *rest = ([str(cell) for cell in column.cells] for column in table.columns)
    names = [str(column.header) for column in table.columns[1:]]
    for head, *cells in zip(first, *rest, strict=True):
        told = [f"{name} {cell}".strip() for name, cell in zip(names, cells, strict=True) if cell]
        console.print(head, markup=False, highlight=False, soft_wrap=True)
        console.print("  " + "  ".join(told), markup=False, highlight=False)


@contextlib.contextmanager
def going_on(hint: str) -> Iterator[None]:
    """Ctrl-C inside ends at once, with a hint how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted.", hint=hint) from error
