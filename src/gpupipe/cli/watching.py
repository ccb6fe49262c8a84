"""A job on the screen while it runs, and how it ended."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpupipe.cli.screen import Screen, add_row, duration, new_table, plural, printable
from gpupipe.tasks import finds_of, inputs_of
from gpuworker.contract import CAVEATS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from gpupipe.jobs.listing import JobSummary
    from gpupipe.jobs.watch import JobView
    from gpuworker.ledger import MachineRecord, Totals

EVERY_S = 5.0
"""Seconds between two plain lines that say the same but for the counts."""

STATE_STYLES = {"running": "cyan", "finished": "green", "cancelled": "yellow", "stalled": "red"}
ABOVE_LOG = 14
"""Lines of the picture that are not the log's."""


@contextlib.contextmanager
def watching(screen: Screen, *, is_local: bool, as_jsonl: bool = False) -> Iterator[Callable[[JobView], None]]:
    """Something to show views with: JSON lines on stdout, a live picture on a terminal, plain lines elsewhere."""
    if as_jsonl:
        yield _json_line
    elif screen.err.is_terminal:
        from rich.live import Live

        console = screen.err
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda view: live.update(picture(view, console, is_local=is_local))
    else:
        yield _Plain(screen, is_local).show


def _json_line(view: JobView) -> None:
    sys.stdout.write(json.dumps(document(view), ensure_ascii=False) + "\n")
    sys.stdout.flush()
    Screen.has_answered = True


class _Plain:
    """A line when something changed in kind, else one every few seconds."""

    def __init__(self, screen: Screen, is_local: bool) -> None:
        self._screen, self._is_local = screen, is_local
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self._engines: tuple[str, ...] = ()

    def show(self, view: JobView) -> None:
        backend = "" if view.is_over else view.backend
        engines = view.totals.engines
        now, kind = time.monotonic(), (view.job.state, tuple(view.waiting), len(view.machines), backend, engines)
        if kind != self._told or now - self._told_at >= EVERY_S:
            self._told, self._told_at = kind, now
            at_work = [backend] if backend else map(_machine, view.machines)
            new = f"engine {' and '.join(engines)}" if engines != self._engines else ""
            self._engines = engines
            told = [_counts(view), _pace(view), new, *at_work, _cost_line(view, self._is_local)]
            text = "; ".join(part for part in [*told, *view.waiting] if part)
            self._screen.say(f"{view.job.job}: {view.job.state}; {text}")


def repeating(screen: Screen) -> Callable[[str], None]:
    """Says what it is told when that is new, and again every few seconds."""
    told, told_at = "", 0.0

    def say(text: str) -> None:
        nonlocal told, told_at
        if text != told or time.monotonic() - told_at >= EVERY_S:
            told, told_at = text, time.monotonic()
            screen.say(text)

    return say


# --- the live picture ---


def picture(view: JobView, console: Console, *, is_local: bool) -> RenderableType:
    """Everything about the job that fits on the terminal, the log's newest lines last."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_head(view), _bar(view), Text(), _facts(view, is_local)]
    if lines := _log(view, max(0, console.height - ABOVE_LOG)):
        parts += [Text(), Text("log", style="dim"), *lines]
    parts += [Text(), Text("Ctrl-C ends the watching, not the job.", style="dim")]
    return Group(*parts)


def _head(view: JobView) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1, no_wrap=True)
    head.add_column(justify="right")
    head.add_row(Text(view.job.job, style="bold"), Text(view.job.state, style=STATE_STYLES.get(view.job.state, "bold")))
    return head


def _bar(view: JobView) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    total = view.totals.items
    behind = _behind(view.totals)
    is_unknown = not total or (not behind and not view.totals.running)
    bar = ProgressBar(total=None if is_unknown else total, completed=behind, pulse=is_unknown)
    row.add_row(bar, Text(f"{behind:,} of {_inputs(view, total)}  {behind / total:4.0%}" if total else ""))
    return row


def _facts(view: JobView, is_local: bool) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    found = _found(view)
    rows = [("pace", _pace(view) or "not known yet")]
    rows += [(f"large {inputs_of(view.job.task)[1]}", _tiles(view.totals))] * bool(view.totals.parts)
    rows += [("found", found)] * bool(found)
    rows += [("engine", "\n".join(view.totals.engines))] * bool(view.totals.engines)
    rows += [("failed", f"{_inputs(view, view.failed)}; `gpupipe fetch` says why")] * bool(view.failed)
    rows += [("warnings", "\n".join(view.warnings))] * bool(view.warnings)
    rows += [("shards", f"{view.totals.shards - view.totals.shards_open:,} of {view.totals.shards:,} done")]
    rows += [(view.backend_word, view.backend)] * bool(view.backend)
    rows += [(f"{view.unit}s", "\n".join(map(_machine, view.machines)) or "none")] * bool(view.unit)
    busy = gpu_busy(view.totals)
    rows += [] if busy is None else [("GPU", f"{busy:.0%} busy while shards were worked on")]
    cost = _cost(view, is_local)
    rows += [("cost", cost)] * bool(cost)
    rows += [("waiting", "\n".join(view.waiting))] * bool(view.waiting)
    for name, text in rows:
        facts.add_row(name, Text(printable(text), style="red" if name == "failed" else ""))
    return facts


def _log(view: JobView, room: int) -> list[Text]:
    from gpupipe.cli.logs import styled

    lines = []
    for line in view.log[-room:] if room else ():
        text = styled(line, is_brief=True)
        first = text.split("\n")[0]  # a traceback is for `gpupipe logs`
        first.no_wrap, first.overflow = True, "ellipsis"
        lines.append(first)
    return lines


# --- words ---


def _behind(totals: Totals) -> int:
    """Items behind us: committed, given up, or behind a running shard."""
    return totals.items - totals.running - totals.pending


def _inputs(view: JobView, number: int) -> str:
    return plural(number, *inputs_of(view.job.task))


def _found(view: JobView) -> str:
    """`3,204 trees`, and how much of the map they cover; "" while there are none."""
    found, area_m2 = (view.totals.counts.get(name, 0) for name in ("annotations", "area_m2"))
    if not found:
        return ""
    return plural(found, *finds_of(view.job.task)) + (f" (about {area_m2:,} m²)" if area_m2 else "")


def _counts(view: JobView) -> str:
    totals = view.totals
    if not totals.items:
        return "nothing is counted yet"
    text = f"{_behind(totals):,} of {_inputs(view, totals.items)}"
    if totals.parts:
        text += f", {_tiles(totals)}"
    if found := _found(view):
        text += f", {found} found"
    elif view.is_over and totals.counts.get("annotations") == 0:
        text += ", nothing found"
    if view.failed:
        text += f", {view.failed:,} FAILED"
    if warned := sum(totals.counts.get(word, 0) for word in CAVEATS):
        text += f", {plural(warned, 'warning')}"
    return text


def _tiles(totals: Totals) -> str:
    return f"{totals.parts_done:,} of {plural(totals.parts, 'tile')} of what is in work"


def _pace(view: JobView) -> str:
    if not view.items_per_s:
        return ""
    rate = view.items_per_s
    inputs = inputs_of(view.job.task)[1]
    pace = f"{rate:,.1f} {inputs}/s" if rate >= 0.1 else f"{rate * 60:,.1f} {inputs}/min"
    return pace if view.is_over or not view.seconds_left else f"{pace}, {duration(view.seconds_left)} left"


def _machine(machine: MachineRecord) -> str:
    up = duration(max(0.0, time.time() - machine.run_started_at))
    about = (machine.machine, machine.instance_type, machine.zone, machine.market)
    gpu = gpu_text(machine_document(machine))
    return f"{' '.join(part for part in about if part)}, {machine.state} for {up}{gpu and f', {gpu}'}"


def gpu_text(machine: Mapping[str, Any]) -> str:
    """`GPU 87% busy, 7.9 of 24.1 GB`, of a machine's document; "" where there is none, or its worker has not told."""
    held, total, utilisation = (
        machine.get(f"gpu_{name}") for name in ("memory_bytes", "memory_total_bytes", "utilisation")
    )
    if not held or not total:
        return ""
    busy = "" if utilisation is None else f" {utilisation:.0%} busy,"
    return f"GPU{busy} {held / 1e9:.1f} of {total / 1e9:.1f} GB"


def gpu_busy(totals: Totals) -> float | None:
    """Share of the time that machines worked on the job's committed shards in which their GPUs did anything."""
    observed = totals.seconds.get("gpu_observed", 0.0)
    return totals.seconds.get("gpu_busy", 0.0) / observed if observed else None


def _cost(view: JobView, is_local: bool) -> str:
    """Money that was spent; of the local target, which costs nothing, what it would have been."""
    if view.cost_usd < 0.00005:
        return ""
    return f"nothing here, about ${view.cost_usd:.4f} on AWS" if is_local else f"${view.cost_usd:.4f} so far"


def _cost_line(view: JobView, is_local: bool) -> str:
    """The same among other facts, where no word stands before it."""
    cost = _cost(view, is_local)
    return f"cost: {cost}" if cost else ""


def document(view: JobView) -> dict[str, Any]:
    """A view as plain JSON values."""
    totals = view.totals
    return {
        "job": view.job.job,
        "project": view.job.project,
        "pipeline": view.job.pipeline,
        "state": view.job.state,
        "reason": view.job.reason,
        "generation": view.job.generation,
        "items": totals.items,
        "done": totals.done,
        "failed": totals.failed,
        "dead": totals.dead,
        "cancelled": totals.cancelled,
        "outstanding": totals.outstanding,
        "in_progress": totals.progressed,
        "parts": totals.parts,
        "parts_done": totals.parts_done,
        "counts": dict(totals.counts),
        "engines": list(totals.engines),
        "shards": totals.shards,
        "shards_open": totals.shards_open,
        "items_per_s": round(view.items_per_s or 0.0, 3),
        "seconds_left": None if view.seconds_left is None else round(view.seconds_left, 1),
        "cost_usd": round(view.cost_usd, 4),
        "gpu_busy": None if (busy := gpu_busy(totals)) is None else round(busy, 3),
        "machines": [machine_document(machine) for machine in view.machines],
        "endpoint": view.guard.get("endpoint"),
        "warnings": {word: number for word, number in totals.counts.items() if word in CAVEATS},
        "waiting": list(view.waiting),
        "is_over": view.is_over,
    }


def machine_document(machine: MachineRecord) -> dict[str, Any]:
    return {
        "machine": machine.machine,
        "type": machine.instance_type,
        "zone": machine.zone,
        "market": machine.market,
        "state": str(machine.state),
        "since": machine.run_started_at,
        "price_usd_per_hour": machine.price_usd_per_hour,
        "gpu_memory_bytes": machine.gpu_memory_bytes or None,
        "gpu_memory_total_bytes": machine.gpu_memory_total_bytes or None,
        "gpu_utilisation": machine.gpu_utilisation,
    }


# --- the end, and lists ---


def job_lines(view: JobView) -> list[str]:
    """An open job in a list: where it is, then a line for each thing that it waits for."""
    about = (view.job.state, _counts(view), _pace(view), "takes what is dropped in" if view.is_open else "")
    first = f"{view.job.job}  {'; '.join(part for part in about if part)}"
    return [first, *(f"  {reason}" for reason in view.waiting)]


def show_end(screen: Screen, view: JobView, *, is_local: bool) -> None:
    """How a job ended, as the command's answer."""
    told = [f"{view.job.job}: {view.job.state}", _counts(view)]
    if view.totals.cancelled:
        told.append(f"{view.totals.cancelled:,} cancelled")
    lines = ["; ".join(part for part in [*told, _pace(view), _cost_line(view, is_local)] if part)]
    if view.job.reason:
        lines.append(view.job.reason)
    lines += [f"warning: {warning}" for warning in view.warnings]
    if view.needs_person:
        lines.append("next: gpupipe logs --since 1h, then gpupipe start")
    else:
        lines.append(f"next: gpupipe fetch {view.job.job}")
    if view.failed and view.is_over:
        lines.append(f"failed items can be sent again: gpupipe retry {view.job.job} --failed")
    screen.answer(document(view), text="\n".join(lines))


def jobs_table(rows: Sequence[tuple[JobSummary, JobView]]) -> Table:
    """Jobs, one a line."""
    words = {inputs_of(job.task)[1] for job, _ in rows}
    inputs = words.pop() if len(words) == 1 else "items"
    table = new_table("job", "state", inputs, "done", "failed", "found", right=(inputs, "done", "failed", "found"))
    for job, view in rows:
        done = view.totals.done + view.totals.progressed  # as `watch` and `status` count a shard that is worked on
        counts = (view.totals.items, done, view.failed, view.totals.counts.get("annotations", 0))
        add_row(table, job.job, job.state, *(f"{count:,}" for count in counts))
    return table
