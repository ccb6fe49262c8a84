"""`logs`: everything that a pipeline consists of on one time line."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpupipe.cli import complete
from gpupipe.cli.screen import Screen, printable

if TYPE_CHECKING:
    from rich.text import Text

    from gpupipe.jobs.logs import LogLine

LINES = 1_000
"""Shown without `--follow`: the newest so many."""

STYLES = {"error": "red", "warning": "yellow", "debug": "dim"}


def logs(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="10m, 2h, 1d, or a time.")] = "1h",
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="JOB", autocompletion=complete.jobs, help="Only lines that name this job."),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", metavar="PIPELINE", autocompletion=complete.pipelines, help="Only this one's."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="COUNT", min=1, help="The newest so many.")] = LINES,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document; with -f a JSON line each.")] = False,
) -> None:
    """Show what workers or endpoint and the functions log, on one time line.

    Example: gpupipe logs -f --since 10m
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.listing import choose_job, contexts
    from gpupipe.jobs.logs import follow_logs, parse_since, read_logs

    screen = Screen(as_json=as_json)
    start = parse_since(since, now=time.time())
    opened = open_stack(context.obj, screen)
    within, chosen = contexts(opened.aws, opened.config, pipeline), ""
    if job:
        ctx, chosen = choose_job(opened.aws, opened.config, job=job, pipeline=pipeline)
        within = [ctx]
    labels = len(within) > 1
    if follow:
        _stream(follow_logs(*within, since=start, job=chosen), screen, with_pipeline=labels)
        return
    lines = deque(read_logs(*within, since=start, job=chosen), maxlen=limit)
    if not as_json:
        _stream(iter(lines), screen, with_pipeline=labels)
    if as_json or not lines:
        screen.answer([document(line) for line in lines])
        screen.say("" if lines else f"Nothing was logged since {since} ago; --since 1d looks further back.")


def _stream(lines: Iterator[LogLine], screen: Screen, *, with_pipeline: bool) -> None:
    out = screen.out
    for line in lines:
        if screen.as_json:
            sys.stdout.write(json.dumps(document(line), ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()
        else:
            out.print(styled(line, with_pipeline=with_pipeline), soft_wrap=True)


def document(line: LogLine) -> dict[str, Any]:
    """As plain JSON values."""
    return {**vars(line), "fields": dict(line.fields)}


def styled(line: LogLine, *, is_brief: bool = False, with_pipeline: bool = False) -> Text:
    """Local time, source, level where it is not `info`, event, key=value; a traceback on lines of its own.

    `is_brief` is for the tail below a job: neither date nor job nor machine.
    """
    from rich.text import Text

    when = time.strftime("%m-%d %H:%M:%S" if not is_brief else "%H:%M:%S", time.localtime(line.at))
    text = Text(f"{when}  ", style="dim")
    if with_pipeline:
        text.append(f"{line.pipeline} ", style="cyan")
    text.append(f"{line.source:<8}  ", style="cyan")
    if line.level != "info":
        text.append(f"{line.level.upper()}: ", style=STYLES.get(line.level, ""))
    text.append(printable(line.event), style="bold" if line.level == "error" else "not dim")
    about = {**({} if is_brief else {"job": line.job, "machine": line.machine}), **line.fields}
    trace = str(about.pop("traceback", "") or "").rstrip()
    text.append("".join(f"  {name}={_value(value)}" for name, value in about.items() if value not in ("", None)))
    if trace:
        text.append("\n" + "\n".join(f"    {part}" for part in printable(trace).split("\n")))
    return text


def _value(value: Any) -> str:
    if isinstance(value, str):
        return printable(value) if not set(value) & set(" \"'=") else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
