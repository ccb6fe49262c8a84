"""A job on the screen while it runs, and how it ended."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from gpupipe.cli.screen import Screen, new_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from gpupipe.jobs.watch import JobView

EVERY_S = 5.0
"""Seconds between two plain lines that say the same but for the counts."""

BAR_WIDTH = 32


@contextlib.contextmanager
def watching(screen: Screen, *, as_jsonl: bool = False) -> Iterator[Callable[[JobView], None]]:
    """Something to show views with: JSON lines on stdout, a live picture on a terminal, plain lines elsewhere."""
    if as_jsonl:
        yield _json_line
    elif screen.err.is_terminal:
        from rich.live import Live

        with Live(console=screen.err, refresh_per_second=4, transient=True) as live:
            yield lambda view: live.update(_picture(view))
    else:
        yield _Plain(screen).show


def _json_line(view: JobView) -> None:
    sys.stdout.write(json.dumps(view.document(), ensure_ascii=False) + "\n")
    sys.stdout.flush()


class _Plain:
    """A line when something changed in kind, else one every few seconds."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0

    def show(self, view: JobView) -> None:
        now, kind = time.monotonic(), (view.record.state, tuple(view.waiting), len(view.machines))
        if kind != self._told or now - self._told_at >= EVERY_S:
            self._told, self._told_at = kind, now
            self._screen.say("  ".join([f"{view.record.job}: {view.record.state}", _counts(view), *_rest(view)]))


def _picture(view: JobView) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(view.totals.items, 1), completed=view.accounted, width=BAR_WIDTH)
    head.add_row(Text(view.record.job, style="bold"), Text(str(view.record.state)), bar, Text(_counts(view)))
    lines = [Text(f"  {line}", style="dim") for line in _rest(view)]
    return Group(head, *lines)


def _counts(view: JobView) -> str:
    totals = view.totals
    if not totals.items:
        return "waiting for dispatch"
    text = f"{view.accounted:,}/{totals.items:,} images"
    if found := totals.counts.get("annotations"):
        text += f", {found:,} things found"
    if view.lost:
        text += f", {view.lost:,} FAILED"
    return text


def _rest(view: JobView) -> list[str]:
    lines = []
    if view.rate_per_s:
        left = view.seconds_left
        pace = f"{view.rate_per_s:,.1f} images/s"
        lines.append(f"{pace}, {duration(left)} left" if left is not None else pace)
    lines += [f"{machine.machine} {machine.instance_type} {machine.state}" for machine in view.machines]
    if view.cost_usd >= 0.00005:
        lines.append(f"${view.cost_usd:.4f} so far")
    return [*lines, *view.waiting]


def duration(seconds: float) -> str:
    """Time in words: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def show_end(screen: Screen, view: JobView, *, as_jsonl: bool) -> None:
    """How a job ended, as the command's answer."""
    if as_jsonl:
        return
    totals = view.totals
    text = f"{view.record.job}: {view.record.state}; {_counts(view)}"
    if totals.cancelled:
        text += f", {totals.cancelled:,} cancelled"
    if view.rate_per_s:
        text += f"; {view.rate_per_s:,.1f} images/s"
    if view.record.reason:
        text += f"\n{view.record.reason}"
    text += f"\nnext: gpupipe fetch {view.record.job}"
    if view.lost:
        text += f"\nfailed items can be sent again: gpupipe retry {view.record.job} --failed"
    screen.answer(view.document(), text=text)


def jobs_table(views: Sequence[JobView]) -> Table:
    """Jobs, one a line."""
    table = new_table("job", "state", "images", "done", "failed", "found", "$", right=("images", "done", "failed", "$"))
    for view in views:
        totals = view.totals
        table.add_row(
            view.record.job,
            str(view.record.state),
            f"{totals.items:,}",
            f"{totals.done:,}",
            f"{view.lost:,}",
            f"{totals.counts.get('annotations', 0):,}",
            f"{view.cost_usd:.4f}",
        )
    return table
