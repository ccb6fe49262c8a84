"""What ministack 1.5.33 keeps for good, and here keeps within bounds: bodies of versions, logs, metrics, answers.

Measured with `segment` on pictures of 64 x 64 pixels: it grew by 146 KB an image and never fell. 120 KB of that were
the bodies of objects, of which it holds one copy for every version in memory beside the one on disk. What is left is
what it knows of five objects an image, and rows of the ledger (0.1 KB an image): `tests/soak/growth.py` says how much.
"""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

LOG_GROUP_BYTES = 12 * 2**20
"""Of a log group's events in memory: some 13,000 lines, more than a page of CloudWatch's answers. 900 images and
five minutes of a guard that looks every two seconds were 0.2 MB, in all groups. Each snapshot copies it: 0.4 s for
8 MB, on two busy cores."""
EVENT_BYTES = 800
"""What an event takes beside its text, measured (812): two records of it, its id, and its times."""
POINTS_A_METRIC = 5000
"""An endpoint's at one a second for more than an hour: its scaling looks back for minutes."""
ANSWERS = 1000
"""Of completed multipart uploads: a client asks again within seconds, if at all."""
NOTICE_STREAM = "local-target"

_SHARE_TO_CHECK = 8  # groups are weighed again once so many parts of their bound have come: weighing reads every event

_JOB = re.compile(r"\b\d{8}-\d{6}-[\w.-]+?-[0-9a-f]{4}\b")  # as `make_job_id` makes them: by time
_JOBS_NAMED = 200  # a notice of 8 KB

Event = MutableMapping[str, Any]


def install() -> None:
    """Bound what ministack's modules keep; called before it serves."""
    from ministack.services import cloudwatch, cloudwatch_logs, s3

    s3._persist_object = releasing(s3._persist_object, s3)
    s3._object_versions._data = Versions(s3._object_versions._data)
    s3._completed_multipart_uploads._data = Newest(ANSWERS)
    cloudwatch._metric_bucket = newest_points(cloudwatch._metric_bucket)
    cloudwatch_logs._append_log_events = BoundedLogs(cloudwatch_logs, group_bytes=LOG_GROUP_BYTES).append


# --- S3: bodies of versions -----------------------------------------------------------------------------------------


def releasing(persist: Callable[[str, str, Any], None], s3: Any) -> Callable[[str, str, Any], None]:
    """Bodies are read from disk once they are there, as ministack itself reads them after it was restarted."""

    def persisted(bucket: str, key: str, record: Any) -> None:
        persist(bucket, key, record)
        if not isinstance(record, dict):
            return
        versions = s3._object_versions.get((bucket, key), [])
        for index, version in enumerate(versions):
            if version.get("data") is not None and _is_on_disk(s3, bucket, key, version["version_id"], record):
                versions[index] = lean({**version, "data": None})
        objects = s3._buckets[bucket]["objects"]
        if record.get("body") is None and objects.get(key) is record:
            objects[key] = lean(record)

    return persisted


def _is_on_disk(s3: Any, bucket: str, key: str, version_id: str, record: Mapping[str, Any]) -> bool:
    """The current version lies where its object does, and took leave of its body there; older ones have files."""
    if (record.get("version_id") or "null") == version_id:
        return record.get("body") is None
    return bool(s3._version_file_exists(bucket, key, version_id))


def lean(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of an object without what is None or an empty dict, which ministack takes for the same: at most ten
    names are a table of 272 bytes, and fourteen of 464."""
    return {name: value for name, value in record.items() if value is not None and value != {}}


class Versions(dict[tuple[str, tuple[str, str]], Any]):
    """Lists of versions by (account, (bucket, key)): each name of an account and a bucket once, not once an object."""

    def setdefault(self, name: tuple[str, tuple[str, str]], default: Any = None) -> Any:
        account, (bucket, key) = name
        return super().setdefault((sys.intern(account), (sys.intern(bucket), key)), default)


# --- S3: answers to completed uploads -------------------------------------------------------------------------------


class Newest(OrderedDict[Any, Any]):
    """A dict that forgets the oldest of more than `count` entries."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > self._count:
            self.popitem(last=False)


# --- CloudWatch: points of metrics ----------------------------------------------------------------------------------


def newest_points(bucket: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    """The points of a metric, which ministack keeps for two weeks however many there are."""

    def newest(key: Any) -> list[Any]:
        points = bucket(key)
        del points[:-POINTS_A_METRIC]
        return points

    return newest


# --- CloudWatch Logs: events ----------------------------------------------------------------------------------------


class BoundedLogs:
    """Appends events to ministack's log streams, and drops a group's oldest beyond `group_bytes`.

    A function's stream, of which there is one an invocation, goes with its last event. A line in a stream of its own
    says until when events are missing, so that whoever reads the log is told.
    """

    def __init__(self, logs: Any, *, group_bytes: int) -> None:
        self._logs = logs
        self._append = logs._append_log_events
        self._group_bytes = group_bytes
        self._unweighed = 0

    def append(self, stream: Any, events: list[Event]) -> None:
        """As ministack's own; called by its loop and by the threads of functions."""
        self._append(stream, events)
        self._unweighed += sum(map(weight, events))
        if self._unweighed * _SHARE_TO_CHECK < self._group_bytes:
            return
        with self._logs._log_events_lock:
            self._unweighed = 0
            for scoped, group in list(self._logs._log_groups._data.items()):
                self._bound(scoped, group["streams"])

    def _bound(self, scoped: tuple[str, str, str], streams: MutableMapping[str, Any]) -> None:
        events = [event for _, stream in list(streams.items()) for event in stream["events"]]
        cut_ms = _cut_ms(events, self._group_bytes)
        if cut_ms is None:
            return
        dropped = list(_dropped(streams, cut_ms))
        for event in dropped:
            self._logs._log_records._data.pop((*scoped[:2], event.get("eventId")), None)
        streams[NOTICE_STREAM] = _notice(cut_ms, self._group_bytes, _jobs_of(dropped))


def weight(event: Mapping[str, Any]) -> int:
    """About how many bytes of memory an event takes."""
    return EVENT_BYTES + len(event["message"])


def _cut_ms(events: list[Event], group_bytes: int) -> int | None:
    """The time up to which events have to go; None where all may stay."""
    total = sum(map(weight, events))
    if total <= group_bytes:
        return None
    # One part more than needed: the next few events do not make the group be weighed and cut each time.
    wanted, last_ms = group_bytes - group_bytes // _SHARE_TO_CHECK, 0
    for event in sorted(events, key=lambda event: event["timestamp"]):
        if total <= wanted:
            break
        total, last_ms = total - weight(event), int(event["timestamp"])
    return last_ms


def _dropped(streams: MutableMapping[str, Any], cut_ms: int) -> Iterator[Event]:
    """Take away the events up to a time, and the streams of functions that are empty then."""
    for name, stream in list(streams.items()):
        old = [event for event in stream["events"] if event["timestamp"] <= cut_ms]
        del stream["events"][: len(old)]  # ministack keeps them by time
        # A machine's stream has tokens; it may be written to again, and would be missed.
        if old and not stream["events"] and stream["uploadSequenceToken"] == "1":
            del streams[name]
        yield from old


def _jobs_of(dropped: Iterable[Event]) -> Sequence[str]:
    """The newest jobs that the dropped lines mention, those that an earlier notice among them mentions included."""
    return sorted({job for event in dropped for job in _JOB.findall(event["message"])})[-_JOBS_NAMED:]


def _notice(cut_ms: int, group_bytes: int, jobs: Sequence[str]) -> dict[str, Any]:
    """A stream with the one event that says what is missing; it names jobs, for whoever asks for the lines of one."""
    told = {
        "level": "warning",
        "event": "older_lines_dropped",
        "why": f"the local target keeps the newest {group_bytes / 2**20:.0f} MB of a log",
        "of_jobs": jobs,
    }
    now_ms = int(time.time() * 1000)
    event = {"timestamp": cut_ms, "message": json.dumps(told), "ingestionTime": now_ms, "eventId": str(uuid.uuid4())}
    times = {"creationTime": now_ms, "firstEventTimestamp": cut_ms, "lastEventTimestamp": cut_ms}
    return {"events": [event], "uploadSequenceToken": "1", "lastIngestionTime": now_ms, **times}
