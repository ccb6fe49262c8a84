"""How far something long has come: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

EVERY_S = 5.0
"""Seconds between two plain lines."""


class Progress(Protocol):
    """What a command tells while it works."""

    def total(self, count: int) -> None: ...
    def at(self, count: int) -> None: ...
    def now(self, text: str) -> None:
        """What is being done at this moment."""

    def line(self, text: str) -> None:
        """Something to be read and kept."""

    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Bar:
    """On a terminal: a bar with count, rate and time left."""

    def __init__(self, console: Console, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: object) -> Text:
                speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
                return Text(f"{speed:,.1f}/s" if speed else "")

        self._bar = RichProgress(
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)

    def total(self, count: int) -> None:
        if count:
            self._bar.update(self._task, total=count)

    def at(self, count: int) -> None:
        self._bar.update(self._task, completed=count)

    def now(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def line(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class Lines:
    """Elsewhere (a pipe, a log, CI): a line at most every few seconds."""

    def __init__(self, say: Callable[[str], None], unit: str) -> None:
        self._say, self._unit = say, unit
        self._total = self._count = 0
        self._begun = self._told = time.monotonic()
        self._text = ""

    def total(self, count: int) -> None:
        self._total = count or self._total

    def at(self, count: int) -> None:
        self._count = count
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            self._say(self._state(now))

    def now(self, text: str) -> None:
        self._text = text

    def line(self, text: str) -> None:
        self._say(text)

    def _state(self, now: float) -> str:
        rate = self._count / max(now - self._begun, 1e-6)
        of = f"/{self._total}" if self._total else ""
        left = f", {(self._total - self._count) / rate:.0f} s left" if self._total and rate else ""
        return f"{self._count}{of} {self._unit}, {rate:.1f}/s{left}  {self._text}".rstrip()

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""
