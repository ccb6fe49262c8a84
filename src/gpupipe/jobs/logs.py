"""The log of everything that a pipeline consists of on one time line, structured; read back to a time, or followed.

CloudWatch sorts each group's events; the groups are merged as streams, so that a day of logs takes no memory.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gpupipe.aws import is_absent
from gpupipe.clock import SYSTEM, Clock
from gpupipe.errors import UsageError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.kinds.kind import LogSource

OVERLAP_S = 20.0
"""Following looks back so far each time: lines of several machines arrive a little late and out of order."""
PAGE_EVENTS = 10_000
_PLATFORM = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START ", "INIT_REPORT ", "XRAY TraceId:")
_TROUBLE = (
    *("[ERROR]", "Task timed out", "Status: timeout", "Status: error", "Traceback (most recent call last)"),
    # SageMaker's and the HTTP server's own words, on lines that are not JSON.
    *("ERROR:", "CRITICAL:", "[sagemaker logs]: Error", "Failed to", "Received server error"),
)
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_ABOUT = frozenset({"at", "level", "event", "machine", "job"})


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One event of the log."""

    at: float
    """Unix time in seconds."""
    source: str
    """What wrote it: worker or endpoint, dispatch, guard, callback, forward."""
    pipeline: str = ""
    level: str
    event: str
    """The event's name, or the text of a line that is not JSON."""
    machine: str = ""
    job: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else it tells."""


def parse_since(text: str, *, now: float) -> float:
    """Unix time of `10m`, `2h`, `1d` ago or of an ISO time (UTC where it names no zone). Raises UsageError."""
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if ago:
        return now - float(ago[1]) * _UNITS_S[ago[2]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no time.", hint="Write 10m, 2h or 1d for so long ago, or 2026-11-21T09:30."
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def sources(ctx: JobsContext) -> Mapping[str, LogSource]:
    """A word for people -> where it logs."""
    return ctx.kind.log_sources(ctx.site)


def read_logs(
    *within: JobsContext,
    since: float,
    job: str = "",
    only: Sequence[str] = (),
    seen: dict[str, float] | None = None,
) -> Iterator[LogLine]:
    """Lines of these pipelines from `since` (Unix time) until now, by time; those that mention `job`, and of the
    sources in `only`.

    `seen` (event id -> its time) holds what is to be left out; what is read is added to it.
    """
    streams = [
        _lines(ctx, name, source, since, job, seen)
        for ctx in within
        for name, source in sources(ctx).items()
        if name in only or not only
    ]
    return heapq.merge(*streams, key=lambda line: line.at)


def follow_logs(
    *within: JobsContext,
    since: float,
    job: str = "",
    only: Sequence[str] = (),
    pause_s: float = 2.0,
    is_over: Callable[[], bool] = lambda: False,
    clock: Clock = SYSTEM,
) -> Iterator[LogLine]:
    """As `read_logs`, and then what comes, until `is_over` says so; each line once.

    Asks every `pause_s` seconds. After the first look a line is told one look later than it is found, so that one of
    another machine that arrives a little late still comes before it.
    """
    seen: dict[str, float] = {}
    is_last = is_over()
    yield from read_logs(*within, since=since, job=job, only=only, seen=seen)
    held: list[LogLine] = []
    while not is_last:
        clock.sleep(pause_s)
        is_last = is_over()
        since = max([since, *(at - OVERLAP_S for at in seen.values())])
        seen = {event: at for event, at in seen.items() if at >= since}
        found = list(read_logs(*within, since=since, job=job, only=only, seen=seen))
        ripe_at = held[-1].at if held else 0.0
        both = sorted([*held, *found], key=lambda line: line.at)
        held = [] if is_last else [line for line in both if line.at > ripe_at]
        yield from both[: len(both) - len(held)]


def _lines(
    ctx: JobsContext, name: str, source: LogSource, since: float, job: str, seen: dict[str, float] | None
) -> Iterator[LogLine]:
    """A group's lines; nothing where the group is not there (yet)."""
    for identity, event in _events(ctx, source.group, since, job):
        at = event["timestamp"] / 1000
        if seen is not None:
            if identity in seen:
                continue
            seen[identity] = at
        stream = "" if source.is_function else event.get("logStreamName", "")
        line = parse_line(event["message"], source=name, at=at, stream=stream, pipeline=ctx.pipeline)
        if line is not None and job in event["message"]:
            yield line


def _events(ctx: JobsContext, group: str, since: float, job: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Events by time, each with what tells it from all others."""
    start, told = int(since * 1000), set[str]()
    while True:
        count, last_at, of_last = 0, start, set[str]()
        for identity, event in _identified(_page(ctx, group, start, job), group):
            count += 1
            if event["timestamp"] != last_at:
                last_at, of_last = event["timestamp"], set()
            of_last.add(identity)
            if identity not in told:
                yield identity, event
        # The emulator ends a full answer without a token for the rest: go on from the time of the last event.
        if count < PAGE_EVENTS or last_at <= start:
            return
        start, told = last_at, of_last


def _page(ctx: JobsContext, group: str, start_ms: int, job: str) -> Iterator[Mapping[str, Any]]:
    from botocore.exceptions import ClientError

    # A quoted pattern is a plain search for the text; it only saves transfer, `job` is looked for again by `_lines`.
    which = {"filterPattern": f'"{job}"'} if job else {}
    pages = ctx.aws.client("logs").get_paginator("filter_log_events")
    with explained(f"read log group {group}"):
        try:
            for page in pages.paginate(logGroupName=group, startTime=max(0, start_ms), **which):
                yield from page["events"]
        except ClientError as error:
            if not is_absent(error):
                raise


def _identified(events: Iterator[Mapping[str, Any]], group: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Events with their id or, where there is none (the emulator's functions), their place in their group's stream."""
    places: Counter[tuple[str, int]] = Counter()
    for event in events:
        place = event.get("logStreamName", ""), event["timestamp"]
        places[place] += 1
        yield event.get("eventId") or f"{group} {place[0]} {place[1]} {places[place]}", event


def parse_line(message: str, *, source: str, at: float, stream: str = "", pipeline: str = "") -> LogLine | None:
    """A line of the log, of a machine's `stream` or a function's (""); None for what Lambda says of every invocation."""
    text = message.rstrip()
    machine = _machine(stream)
    if not text or (not machine and text.startswith(_PLATFORM) and _level_of(text) == "info"):
        return None
    told = _json(text)
    if told is None:
        level = _level_of(text)
        return LogLine(at=at, source=source, pipeline=pipeline, level=level, event=text, machine=machine)
    return LogLine(
        at=at,
        source=source,
        pipeline=pipeline,
        level=str(told.get("level", "info")),
        event=str(told.get("event", "")),
        machine=str(told.get("machine") or machine),
        job=str(told.get("job") or ""),
        fields={name: value for name, value in told.items() if name not in _ABOUT},
    )


def _machine(stream: str) -> str:
    """Who writes this stream: an instance id, or `<variant>/<instance>` of an endpoint, which has a second stream for
    what SageMaker itself says of asynchronous requests (`<variant>/<instance>/data-log`)."""
    return "/".join(stream.split("/")[:2])


def _json(text: str) -> Mapping[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        told = json.loads(text)
    except ValueError:
        return None
    return told if isinstance(told, Mapping) else None


def _level_of(text: str) -> str:
    """Of a line that says it only in words: a crash of the runtime, a time-out."""
    return "error" if any(sign in text for sign in _TROUBLE) else "info"
