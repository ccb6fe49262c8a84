from pathlib import Path
from typing import Any

from tests.local.clients import Client
from tests.ticking import TickingClock

from gpupipe.local.runners.process_host import WorkerProcess
from gpupipe.local.runners.worker_logs import Stream, WorkerLogs


def messages(logs: Any, group: str) -> list[str]:
    return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]


def test_lines_are_shipped_each_once_when_there_is_a_group(tmp_path: Path, client: Client) -> None:
    # given a worker that has printed a line and the beginning of another, and no log group
    logs, group, clock = client("logs"), "/worker-logs/toys", TickingClock()
    worker = WorkerProcess(tmp_path / "toy", note="toy.json", log=tmp_path / "toy.log", term_grace_s=1.0)
    stream = Stream(worker=worker, group=group, name="toy")
    WorkerLogs(client, clock=clock).ship([stream])
    worker.log.write_text("one\ntw")
    shipping = WorkerLogs(client, clock=clock)
    shipping.ship([stream])
    # when the group is made, then the whole line is there after a while
    logs.create_log_group(logGroupName=group)
    shipping.ship([stream])
    assert messages(logs, group) == []
    clock.now += 11
    shipping.ship([stream])
    assert messages(logs, group) == ["one"]
    # and the other one when it is whole, by the next supervisor, which ships nothing twice
    worker.log.write_text("one\ntwo\n")
    WorkerLogs(client, clock=clock).ship([stream])
    assert messages(logs, group) == ["one", "two"]
    # and a log that was begun anew is read from its beginning
    worker.log.write_text("new\n")
    WorkerLogs(client, clock=clock).ship([stream])
    assert messages(logs, group) == ["one", "two", "new"]
