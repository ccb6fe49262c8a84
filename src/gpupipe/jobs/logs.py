"""The logs of a pipeline's workers and functions on one time line, read once or followed.

Each group is read on from where it was read to, a minute of overlap included, because lines of another machine may
come late; what was seen is passed over by its id. Ordered by the time that a line itself tells.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gpupipe.aws import is_absent, together
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.log_lines import LogLine, parsed, render

__all__ = ["LogLine", "follow", "read", "render"]

LINES = 1_000
INTERVAL_S = 2.0
LATE_MS = 60_000
"""A line that reaches CloudWatch later than this after newer ones of its group is not found by following."""
AT_ONCE = 5_000
"""Lines of a group taken before others are shown: a long past is shown piece by piece, in little memory."""
PAGE = 10_000
"""FilterLogEvents answers with so many events at most."""


def read(
    ctx: JobsContext,
    *,
    since_s: float,
    job: str | None = None,
    limit: int = LINES,
    pipelines: Sequence[str] | None = None,
) -> list[LogLine]:
    """The newest `limit` lines of the last `since_s` seconds, oldest first; of `job` only those that name it.

    Of the context's pipeline, or of several. Raises AwsError.
    """
    readers = _readers(ctx, pipelines, job, time.time() - since_s)
    found = together(*(partial(_newest, reader, limit) for reader in readers))
    return sorted(itertools.chain(*found), key=lambda line: line.at)[-limit:] if limit > 0 else []


def _newest(reader: _Reader, limit: int) -> list[LogLine]:
    # Of equals the later: sorted, nlargest would prefer the first.
    numbered = heapq.nlargest(limit, enumerate(reader.lines()), key=lambda pair: (pair[1].at, pair[0]))
    return [line for _, line in reversed(numbered)]


def follow(
    ctx: JobsContext,
    *,
    since: float,
    job: str | None = None,
    interval_s: float = INTERVAL_S,
    stop: threading.Event | None = None,
    pipelines: Sequence[str] | None = None,
) -> Iterator[LogLine]:
    """Lines from Unix time `since` on, as they come, until `stop` is set; then what is there by then, and the end.

    A line is shown one look after it was found, so that one that comes a little later can still go before it.
    """
    stop = stop or threading.Event()
    readers = _readers(ctx, pipelines, job, since)
    held = _Held()
    while True:
        ending = stop.is_set()
        for lines in together(*(partial(_some, reader) for reader in readers)):
            held.add(lines)
        # Nothing is shown before what a group that is still behind may have to tell.
        behind = [reader.newest_ms / 1000 for reader in readers if not reader.caught_up]
        yield from held.take(min(behind, default=math.inf), whole=ending or bool(behind))
        if ending and not behind:
            return
        if not behind:
            stop.wait(interval_s)


def _some(reader: _Reader) -> list[LogLine]:
    return list(itertools.islice(reader.lines(), AT_ONCE))


class _Held:
    """Lines found and not shown yet, by their time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, LogLine]] = []
        self._count = itertools.count()
        self._ripe_at = -math.inf
        self._newest = -math.inf

    def add(self, lines: Sequence[LogLine]) -> None:
        for line in lines:
            heapq.heappush(self._heap, (line.at, next(self._count), line))
            self._newest = max(self._newest, line.at)

    def take(self, horizon: float, *, whole: bool) -> Iterator[LogLine]:
        """Those up to `horizon`: all of them, or those as old as what the look before this one had found."""
        until = horizon if whole else min(horizon, self._ripe_at)
        self._ripe_at = self._newest
        while self._heap and self._heap[0][0] <= until:
            yield heapq.heappop(self._heap)[2]


# --- groups ---


def _readers(ctx: JobsContext, pipelines: Sequence[str] | None, job: str | None, since: float) -> list[_Reader]:
    stack = ctx.aws.stack
    found = []
    for pipeline in pipelines or (ctx.pipeline,):
        dispatch, guard = stack.dispatch_function(pipeline), stack.guard_function(pipeline)
        groups = {
            "worker": stack.worker_log_group(pipeline),
            "dispatch": stack.function_log_group(dispatch),
            "guard": stack.function_log_group(guard),
        }
        found += [_Reader(ctx, pipeline, source, group, job, since) for source, group in groups.items()]
    return found


class _Reader:
    """One log group, read on from where it was read to. One that does not exist has no lines yet."""

    def __init__(self, ctx: JobsContext, pipeline: str, source: str, group: str, job: str | None, since: float) -> None:
        self._client = ctx.aws.client("logs")
        self._pipeline, self._source, self._group, self._job = pipeline, source, group, job
        self._start_ms = int(since * 1000)
        self._seen: dict[Any, int] = {}
        self._forget_at = PAGE
        self.newest_ms = self._start_ms
        self.caught_up = False

    def lines(self) -> Iterator[LogLine]:
        """What is new. `caught_up` says afterwards whether that was all."""
        self.caught_up = False
        with explained(f"read log group {self._group}"):
            for event in self._new_events():
                line = parsed(event, pipeline=self._pipeline, source=self._source)
                if line is not None and self._job in (None, line.fields.get("job")):
                    yield line
        self.caught_up = True

    def _new_events(self) -> Iterator[Mapping[str, Any]]:
        begin = max(self._start_ms, self.newest_ms - LATE_MS)
        while True:
            count, last = 0, begin
            for key, event in self._identified(begin):
                count, last = count + 1, event["timestamp"]
                if key not in self._seen:
                    self._note(key, last)
                    yield event
            if count < PAGE:
                return
            # The emulator ends an answer that is full without a token for the rest; AWS's pages never end so.
            begin = max(last, begin + 1)

    def _note(self, key: Any, at_ms: int) -> None:
        self._seen[key] = at_ms
        self.newest_ms = max(self.newest_ms, at_ms)
        if len(self._seen) >= self._forget_at:
            oldest = self.newest_ms - LATE_MS
            self._seen = {key: at for key, at in self._seen.items() if at >= oldest}
            self._forget_at = 2 * len(self._seen) + PAGE

    def _identified(self, begin_ms: int) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Events with what tells them apart: their id, or (the emulator's functions) their place in their stream."""
        places: Counter[tuple[str, int]] = Counter()
        for event in self._events(begin_ms):
            key = event.get("eventId")
            if key is None:
                place = event["logStreamName"], event["timestamp"]
                places[place] += 1
                key = (*place, places[place])
            yield key, event

    def _events(self, begin_ms: int) -> Iterator[Mapping[str, Any]]:
        from botocore.exceptions import ClientError

        which: dict[str, Any] = {"logGroupName": self._group, "startTime": max(0, begin_ms)}
        if self._job is not None:
            which["filterPattern"] = f'{{ $.job = "{self._job}" }}'
        try:
            for page in self._client.get_paginator("filter_log_events").paginate(**which):
                yield from page["events"]
        except ClientError as error:
            if not is_absent(error):
                raise
