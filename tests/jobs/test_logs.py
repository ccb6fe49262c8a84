"""The log of worker, dispatch and guard on one time line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import pytest
from tests.jobs.desk import Desk, a_desk
from tests.ticking import TickingClock

from gpupipe.config import Config
from gpupipe.errors import UsageError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.logs import LogLine, follow_logs, parse_line, parse_since, read_logs, sources
from gpupipe.local.emulators import Emulators

NOW = 1_795_000_000.0
JOB = "20261118-143320-field7-0a1b"


def write(desk: Desk, source: str, stream: str, lines: Mapping[float, str]) -> None:
    """Put lines (seconds before now -> message) into a stream; groups and streams are made as needed."""
    logs, group = desk.ctx.aws.client("logs"), sources(desk.ctx)[source].group
    for make, names in (
        (logs.create_log_group, {"logGroupName": group}),
        (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        try:
            make(**names)
        except logs.exceptions.ResourceAlreadyExistsException:
            continue
    events = [{"timestamp": int((time.time() - ago) * 1000), "message": line} for ago, line in lines.items()]
    events.sort(key=lambda event: int(str(event["timestamp"])))
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def told(event: str, **fields: object) -> str:
    return json.dumps({"at": "2026-11-18T14:33:20.000Z", "level": "info", "event": event, **fields})


def test_all_sources_are_merged_by_time(desk: Desk) -> None:
    write(desk, "worker", "i-1", {50: told("shard_started", job=JOB, machine="i-1"), 10: told("shard_done", job=JOB)})
    write(desk, "worker", "i-2", {40: told("worker_started")})
    write(desk, "dispatch", "2026/11/18/[$LATEST]x", {60: told("job_dispatched", job=JOB, shards=3)})
    write(
        desk, "guard", "2026/11/18/[$LATEST]y", {30: told("look", woken=[JOB]), 20: "REPORT RequestId: 1 Duration: 2"}
    )
    lines = list(read_logs(desk.ctx, since=time.time() - 3600))
    assert [(line.source, line.event) for line in lines] == [
        ("dispatch", "job_dispatched"),
        ("worker", "shard_started"),
        ("worker", "worker_started"),
        ("guard", "look"),
        ("worker", "shard_done"),
    ]
    assert (lines[0].job, dict(lines[0].fields)) == (JOB, {"shards": 3})
    assert [line.machine for line in lines] == ["", "i-1", "i-2", "", "i-1"]
    # what mentions a job, and what one source says
    about = [line.event for line in read_logs(desk.ctx, since=0, job=JOB)]
    assert about == ["job_dispatched", "shard_started", "look", "shard_done"]
    assert [line.event for line in read_logs(desk.ctx, since=0, only=["guard"])] == ["look"]
    assert [line.event for line in read_logs(desk.ctx, since=time.time() - 35)] == ["look", "shard_done"]


def test_without_any_log_group_there_is_nothing(desk: Desk) -> None:
    assert list(read_logs(desk.ctx, since=0)) == []


def test_following_tells_each_line_once_and_in_order_also_late_and_equal_ones(desk: Desk) -> None:
    def between_looks() -> Iterator[bool]:
        write(desk, "worker", "i-1", {9: "first", 8: "same"})
        yield False
        write(desk, "worker", "i-1", {5: "third"})
        yield False
        # arrives a look later than the third, and belongs before it
        write(desk, "worker", "i-2", {5.5: "late", 8: "same"})
        yield False
        write(desk, "guard", "g", {3: "fourth"})
        yield False
        write(desk, "guard", "g", {1: "last"})
        yield True

    is_over = between_looks().__next__
    followed = [
        line.event for line in follow_logs(desk.ctx, since=time.time() - 60, is_over=is_over, clock=TickingClock())
    ]
    assert followed == ["first", "same", "same", "late", "third", "fourth", "last"]


def test_more_lines_than_a_page_all_arrive(desk: Desk) -> None:
    for start in range(0, 12_000, 4_000):
        write(desk, "worker", "i-1", {100 - number / 1_000: f"line {number}" for number in range(start, start + 4_000)})
    events = [line.event for line in read_logs(desk.ctx, since=time.time() - 600)]
    assert len(events) == 12_000
    assert set(events) == {f"line {number}" for number in range(12_000)}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"level":"error","event":"boom","error":"X"}\n', ("error", "boom", {"error": "X"})),
        ("plain words", ("info", "plain words", {})),
        ("Task timed out after 3.00 seconds", ("error", "Task timed out after 3.00 seconds", {})),
        ("{not json", ("info", "{not json", {})),
        ("[1]", ("info", "[1]", {})),
        ("REPORT RequestId: 5 Status: timeout", ("error", "REPORT RequestId: 5 Status: timeout", {})),
    ],
)
def test_lines_are_understood_or_shown_as_they_are(message: str, expected: tuple[str, str, dict[str, str]]) -> None:
    line = parse_line(message, source="guard", at=NOW)
    assert isinstance(line, LogLine)
    assert (line.level, line.event, dict(line.fields)) == expected


@pytest.mark.parametrize(
    ("message", "stream", "machine", "level"),
    [
        ('{"level":"info","event":"shard_done","machine":"main/i-7"}', "main/i-7", "main/i-7", "info"),
        ("START RequestId: is no line of Lambda's here", "main/i-7", "main/i-7", "info"),
        ("[2026-11-21] [sagemaker logs] [job.0.0] Received server error", "main/i-7/data-log", "main/i-7", "error"),
        ("Traceback (most recent call last):", "main/i-7", "main/i-7", "error"),
    ],
)
def test_an_endpoint_writes_a_stream_an_instance_and_sagemaker_one_beside_it(
    message: str, stream: str, machine: str, level: str
) -> None:
    line = parse_line(message, source="endpoint", at=NOW, stream=stream)
    assert isinstance(line, LogLine)
    assert (line.machine, line.level, line.source) == (machine, level, "endpoint")


@pytest.mark.parametrize(("mode", "second"), [("async", "callback"), ("realtime", "forward")])
def test_the_log_of_an_endpoint_is_that_of_its_containers_and_functions(
    emulated: Emulators, mode: str, second: str
) -> None:
    desk = a_desk(emulated, f"log{mode}", kind="endpoint", mode=mode)
    for number, source in enumerate(("endpoint", "dispatch", "guard", second)):
        write(desk, source, "main/i-7", {50 - number: told(f"of_{source}", job=JOB)})
    lines = list(read_logs(desk.ctx, since=time.time() - 3600, job=JOB))
    assert [(line.source, line.event) for line in lines] == [
        ("endpoint", "of_endpoint"),
        ("dispatch", "of_dispatch"),
        ("guard", "of_guard"),
        (second, f"of_{second}"),
    ]
    assert [line.machine for line in lines] == ["main/i-7", "", "", ""]


def test_several_pipelines_share_the_time_line(emulated: Emulators) -> None:
    desk = a_desk(emulated, "logtwo")
    one = desk.ctx.config
    table = {"kind": "endpoint", "task": "segment"}
    both = Config(stack=one.stack, pipelines={"segment": one.pipelines["segment"], "rooms": table})
    rooms = JobsContext.of(desk.ctx.aws, both, "rooms")
    write(desk, "guard", "x", {20: told("look")})
    write(Desk(ctx=rooms), "guard", "x", {20.0001: told("look"), 10: told("later")})
    lines = read_logs(desk.ctx, rooms, since=time.time() - 60)
    assert sorted((line.pipeline, line.event) for line in lines) == [
        ("rooms", "later"),
        ("rooms", "look"),
        ("segment", "look"),
    ]


@pytest.mark.parametrize("message", ["", "  \n", "START RequestId: 5 Version: $LATEST", "END RequestId: 5"])
def test_what_lambda_says_of_itself_is_left_out(message: str) -> None:
    assert parse_line(message, source="dispatch", at=NOW) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", NOW - 600),
        ("1.5h", NOW - 5400),
        ("2 d", NOW - 172_800),
        ("2026-11-21T09:30", 1795253400.0),
        ("2026-11-21T09:30+01:00", 1795249800.0),
    ],
)
def test_times_are_ago_or_iso(text: str, at: float) -> None:
    assert parse_since(text, now=NOW) == at


def test_a_wrong_time_says_how_to_write_one() -> None:
    with pytest.raises(UsageError, match="Write 10m"):
        parse_since("yesterday", now=NOW)
