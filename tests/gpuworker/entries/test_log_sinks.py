import json
import threading
from pathlib import Path
from typing import Any

from tests.gpuworker.station import Station, until

from gpuworker.entries.log_sinks import CloudWatch, DayFiles
from gpuworker.process.log import Log

GROUP = "/gpupipe/test"
NOVEMBER_21 = 1_795_253_452.0


def test_lines_arrive_in_the_machines_stream(station: Station) -> None:
    # given a log group, without a stream
    logs = station.client("logs")
    logs.create_log_group(logGroupName=station.name)
    sink = CloudWatch(logs, station.name, "i-1", pause_s=0.02)
    log = Log([sink])
    # when
    for number in range(20):
        log.info("line", number=number)
    sink.close(10)
    # then
    events = logs.get_log_events(logGroupName=station.name, logStreamName="i-1", startFromHead=True)["events"]
    assert [json.loads(event["message"])["number"] for event in events] == list(range(20))


class Refusing:
    """A client for Logs that fails until it is told not to."""

    class exceptions:  # noqa: N801 - as boto3 names it
        class ResourceNotFoundException(Exception):  # noqa: N818
            pass

    def __init__(self) -> None:
        self.works = threading.Event()
        self.tried = threading.Event()
        self.got: list[str] = []

    def put_log_events(self, *, logEvents: list[dict[str, Any]], **_: str) -> None:  # noqa: N803
        self.tried.set()
        if not self.works.is_set():
            raise ConnectionError("no network")
        self.got.extend(json.loads(event["message"])["event"] for event in logEvents)


def test_what_could_not_be_sent_is_sent_later() -> None:
    client = Refusing()
    sink = CloudWatch(client, GROUP, "i-1", pause_s=0.01)
    log = Log([sink])
    log.info("first")
    assert client.tried.wait(5)
    client.works.set()
    log.info("second")
    sink.close(10)
    assert client.got == ["first", "second"]


def test_flood_is_dropped_and_counted_and_never_waits() -> None:
    # given a service that does not answer
    client = Refusing()
    sink = CloudWatch(client, GROUP, "i-1", pause_s=0.01)
    log = Log([sink])
    # when more is logged than is kept
    for _ in range(12_000):
        log.info("flood")
    client.works.set()
    sink.close(20)
    # then the number that is missing is told
    assert sink.dropped > 0
    assert client.got.count("flood") == 12_000 - sink.dropped
    assert client.got.count("log_lines_dropped") >= 1


def test_file_a_day_is_uploaded_whole(station: Station, tmp_path: Path) -> None:
    sink = DayFiles(station.storage, tmp_path, "i-1", pause_s=0.02)
    sink.write("one", NOVEMBER_21)
    assert until(lambda: station.storage.read("logs/2026-11-21/i-1.log"))
    sink.write("two", NOVEMBER_21)
    sink.write("three", NOVEMBER_21 + 86_400)
    sink.close(10)
    first, second = (station.storage.read(f"logs/2026-11-{day}/i-1.log") for day in (21, 22))
    assert first is not None
    assert second is not None
    assert (first.data, second.data) == (b"one\ntwo\n", b"three\n")


def test_restarted_worker_adds_to_the_same_days_file(station: Station, tmp_path: Path) -> None:
    for line in ("before", "after"):
        sink = DayFiles(station.storage, tmp_path, "i-1", pause_s=60)
        sink.write(line, NOVEMBER_21)
        sink.close(10)
    found = station.storage.read("logs/2026-11-21/i-1.log")
    assert found is not None
    assert found.data == b"before\nafter\n"
