"""Lines of workers and functions on one time line."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.jobs.desk import PIPELINE, Desk

from gpupipe.jobs import logs
from gpupipe.jobs.logs import LogLine

JOB = "20261121-113052-field7-1f3a"


class Groups:
    """Writes to the log groups of a desk, as workers and Lambda do."""

    def __init__(self, desk: Desk) -> None:
        stack = desk.ctx.aws.stack
        self._client = desk.ctx.aws.client("logs")
        self._names = {
            "worker": stack.worker_log_group(PIPELINE),
            "dispatch": stack.function_log_group(stack.dispatch_function(PIPELINE)),
            "guard": stack.function_log_group(stack.guard_function(PIPELINE)),
        }
        self.now = time.time()

    def write(self, source: str, *messages: tuple[float, str], stream: str = "i-1") -> None:
        """Messages with their time in seconds from the test's `now`."""
        names = {"logGroupName": self._names[source], "logStreamName": stream}
        with contextlib.suppress(self._client.exceptions.ResourceAlreadyExistsException):
            self._client.create_log_group(logGroupName=self._names[source])
        with contextlib.suppress(self._client.exceptions.ResourceAlreadyExistsException):
            self._client.create_log_stream(**names)
        events = [{"timestamp": self.ms(at), "message": text} for at, text in messages]
        self._client.put_log_events(**names, logEvents=events)

    def ms(self, at: float) -> int:
        return int((self.now + at) * 1000)

    def line(self, at: float, event: str, level: str = "info", **fields: Any) -> tuple[float, str]:
        """A JSON line as the worker and the functions write it."""
        when = datetime.fromtimestamp(self.ms(at) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return at, json.dumps({"at": when, "level": level, "event": event, **fields})


@pytest.fixture
def groups(desk: Desk) -> Groups:
    return Groups(desk)


def told(lines: list[LogLine]) -> list[str]:
    return [f"{line.source}: {line.event or line.text}" for line in lines]


def test_nothing_has_been_written_where_there_is_no_group(desk: Desk) -> None:
    assert logs.read(desk.ctx, since_s=3600) == []


def test_all_sources_come_in_the_order_of_their_times(desk: Desk, groups: Groups) -> None:
    groups.write("worker", groups.line(-30, "shard_started"), groups.line(-10, "shard_done"), stream="i-1")
    groups.write("worker", groups.line(-20, "shard_started"), stream="i-2")
    groups.write("dispatch", groups.line(-40, "job_dispatched"), stream="2026/11/21/[$LATEST]ab")
    groups.write("guard", groups.line(-35, "look"), stream="2026/11/21/[$LATEST]cd")
    lines = logs.read(desk.ctx, since_s=3600)
    assert told(lines) == [
        "dispatch: job_dispatched",
        "guard: look",
        "worker i-1: shard_started",
        "worker i-2: shard_started",
        "worker i-1: shard_done",
    ]
    assert lines[0].at == pytest.approx(groups.now - 40, abs=0.01)


def test_of_too_many_the_newest_are_told_and_those_before_the_time_asked_for_are_not(
    desk: Desk, groups: Groups
) -> None:
    groups.write("worker", *(groups.line(-100 + n, f"event_{n}") for n in range(20)))
    groups.write("guard", groups.line(-90.5, "look"), groups.line(-3000, "long_ago"))
    assert told(logs.read(desk.ctx, since_s=600, limit=2)) == ["worker i-1: event_18", "worker i-1: event_19"]
    assert "guard: long_ago" not in told(logs.read(desk.ctx, since_s=600))
    assert told(logs.read(desk.ctx, since_s=4000))[0] == "guard: long_ago"


def test_of_a_job_only_what_names_it(desk: Desk, groups: Groups) -> None:
    other = JOB.replace("1f3a", "1f3b")
    groups.write("worker", groups.line(-9, "shard_done", job=JOB), groups.line(-8, "shard_done", job=other))
    groups.write("worker", groups.line(-7, "worker_ready", note=f"not of {JOB}"), (-6, f"text about {JOB}"))
    groups.write("dispatch", groups.line(-5, "job_dispatched", job=JOB))
    assert told(logs.read(desk.ctx, since_s=60, job=JOB)) == ["worker i-1: shard_done", "dispatch: job_dispatched"]


def test_what_lambda_says_of_every_invocation_is_left_out_and_its_troubles_are_errors(
    desk: Desk, groups: Groups
) -> None:
    groups.write(
        "guard",
        (-9, "INIT_START Runtime Version: python:3.13.v1"),
        (-8, "START RequestId: 1 Version: $LATEST\n"),
        (-7, "[ERROR] KeyError: 'x'\rTraceback (most recent call last):"),
        (-6, "END RequestId: 1"),
        (-5, "REPORT RequestId: 1\tDuration: 3 ms"),
        (-4, "2026-11-21T11:30:52Z 2 Task timed out after 120.00 seconds"),
        (-3, "REPORT RequestId: 2\tDuration: 120000 ms\tStatus: timeout"),
        (-2, "plain words"),
        (-1, '{"no": "event"}'),
    )
    lines = logs.read(desk.ctx, since_s=60)
    assert [(line.level, line.text.split("\r")[0].split("\t")[0]) for line in lines] == [
        ("error", "[ERROR] KeyError: 'x'"),
        ("error", "2026-11-21T11:30:52Z 2 Task timed out after 120.00 seconds"),
        ("error", "REPORT RequestId: 2"),
        ("info", "plain words"),
        ("info", '{"no": "event"}'),
    ]


def test_following_tells_each_line_once_and_in_order_though_some_come_late(desk: Desk, groups: Groups) -> None:
    stop = threading.Event()
    groups.write("worker", groups.line(-9, "first"), groups.line(-5, "third"))
    followed = logs.follow(desk.ctx, since=groups.now - 60, interval_s=0.05, stop=stop)
    seen = [next(followed)]
    groups.write("guard", groups.line(-7, "late_but_in_time"))  # held back lines are still to be shown
    groups.write("worker", groups.line(-4, "fourth"), groups.line(-4, "fourth"))
    seen += itertools.islice(followed, 3)
    groups.write("dispatch", groups.line(-30, "very_late"))
    groups.write("worker", groups.line(-3, "fifth"))
    stop.set()
    seen += followed
    assert sorted(told(seen)) == sorted(
        [
            *("worker i-1: first", "worker i-1: third", "worker i-1: fourth", "worker i-1: fourth"),
            *("guard: late_but_in_time", "dispatch: very_late", "worker i-1: fifth"),
        ]
    )
    of_workers = [line.event for line in seen if line.source == "worker i-1"]
    assert of_workers == ["first", "third", "fourth", "fourth", "fifth"]


def test_a_line_that_comes_between_two_looks_still_goes_before_what_was_found_first(desk: Desk, groups: Groups) -> None:
    stop = threading.Event()
    found = threading.Event()
    groups.write("worker", groups.line(-5, "later"))

    def tell_late(**_: Any) -> None:
        if not found.is_set():
            found.set()
            groups.write("guard", groups.line(-7, "earlier"))
        else:
            stop.set()

    calls = desk.ctx.aws.client("logs").meta.events
    calls.register("after-call.cloudwatch-logs.FilterLogEvents", _after_calls(3, tell_late))
    seen = list(logs.follow(desk.ctx, since=groups.now - 60, interval_s=0.01, stop=stop))
    assert told(seen) == ["guard: earlier", "worker i-1: later"]


def _after_calls(count: int, tell: Any) -> Any:
    calls = itertools.count(1)
    return lambda **_: tell() if next(calls) % count == 0 else None


def test_a_long_past_comes_whole_and_in_order(desk: Desk, groups: Groups) -> None:
    # More than one answer of CloudWatch holds, and more than is taken of a group at once.
    busy = [groups.line(-500 + 0.04 * n, f"w{n}") for n in range(10_400)]
    groups.write("worker", *busy[:6_000])
    groups.write("worker", *busy[6_000:])
    groups.write("guard", *(groups.line(-499.99 + n, f"g{n}") for n in range(400)))
    stop = threading.Event()
    stop.set()
    followed = list(logs.follow(desk.ctx, since=groups.now - 600, stop=stop))
    assert len(followed) == 10_800
    assert [line.at for line in followed] == sorted(line.at for line in followed)
    assert [line.event for line in logs.read(desk.ctx, since_s=600, limit=20_000)] == [line.event for line in followed]


def test_a_line_is_shown_with_what_it_is_about() -> None:
    fields = {"job": JOB, "seconds": {"infer": 1.5}, "note": "two words", "machine": "i-1", "traceback": "a\n  b\n"}
    line = LogLine(
        at=0, pipeline="p", source="worker i-1", level="error", event="shard_failed", fields=fields, text="{}"
    )
    first, *rest = logs.render(line).split("\n")
    assert first.endswith(f'shard_failed job={JOB} seconds={{"infer":1.5}} note="two words"')
    assert "worker i-1 " in first
    assert " error " in first
    assert rest == ["    a", "      b"]
    assert "p worker i-1" in logs.render(line, with_pipeline=True)


def test_nothing_in_a_log_gives_orders_to_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07.jpg"
    line = LogLine(at=0, pipeline="p", source="guard", level="info", event="e", fields={"key": hostile}, text="")
    text = LogLine(at=0, pipeline="p", source="guard", level="info", text=hostile)
    for shown in (logs.render(line), logs.render(text)):
        assert not set(shown) & {"\x1b", "\x07"}
        assert "owned" in shown


def test_a_line_as_json_keeps_what_it_tells() -> None:
    line = LogLine(at=1.5, pipeline="p", source="guard", level="info", event="look", fields={"wanted": 1}, text="{…}")
    assert line.document() == {
        "at": 1.5,
        "pipeline": "p",
        "source": "guard",
        "level": "info",
        "event": "look",
        "wanted": 1,
    }
