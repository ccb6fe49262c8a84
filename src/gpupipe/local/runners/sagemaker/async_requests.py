"""The queue of asynchronous requests: a file each, so that a killed supervisor loses none."""

import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gpupipe.local.documents import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class AsyncRequest:
    """One InvokeEndpointAsync that was accepted."""

    id: str
    """Sorts by time of arrival; names the file."""
    endpoint: str
    inference_id: str
    input_location: str
    """`s3://…`; empty when the body came with the request."""
    content_type: str
    """Empty: that of the object at the input location."""
    accept: str
    custom_attributes: str
    received_at: float
    ttl_s: float
    timeout_s: float
    output_location: str
    failure_location: str


class AsyncRequests:
    """All requests that have no result yet, by endpoint, oldest first; those in work included."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: defaultdict[str, dict[str, AsyncRequest]] = defaultdict(dict)
        self._taken: defaultdict[str, dict[str, AsyncRequest]] = defaultdict(dict)
        self._not_before: dict[str, float] = {}
        self._lock = threading.Lock()
        self.changed: Callable[[], None] = lambda: None
        """Called when a request was added."""
        for file in sorted(folder.glob("*/*.json")):
            if document := read_json(file):
                request = AsyncRequest(**document)
                self._waiting[request.endpoint][request.id] = request

    def add(self, request: AsyncRequest, body: bytes = b"") -> None:
        """Accept a request; it is on disk when this returns."""
        if body:
            self._body(request).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._body(request).write_bytes(body)
        write_json(self._file(request), asdict(request))
        with self._lock:
            self._waiting[request.endpoint][request.id] = request
        self.changed()

    def body(self, request: AsyncRequest) -> bytes:
        """The body that came with a request without InputLocation."""
        return self._body(request).read_bytes()

    def take(self, endpoint: str) -> AsyncRequest | None:
        """The oldest request that may be worked on; it is counted as backlog until it is `done`."""
        now = time.monotonic()
        with self._lock:
            for request in self._waiting[endpoint].values():
                if self._not_before.get(request.id, 0.0) <= now:
                    return self._take(request)
        return None

    def take_expired(self, endpoint: str) -> list[AsyncRequest]:
        """Those of an endpoint that have waited for longer than they may."""
        now = time.time()
        with self._lock:
            found = list(self._waiting[endpoint].values())
            return [self._take(one) for one in found if now - one.received_at > one.ttl_s]

    def give_back(self, request: AsyncRequest, *, pause_s: float = 0.0) -> None:
        """Nothing came of it: it waits again, in its old place."""
        with self._lock:
            if self._taken[request.endpoint].pop(request.id, None) is None:
                return  # its endpoint is gone
            self._not_before[request.id] = time.monotonic() + pause_s
            queue = {**self._waiting[request.endpoint], request.id: request}
            self._waiting[request.endpoint] = dict(sorted(queue.items()))

    def done(self, request: AsyncRequest) -> None:
        """It has its result, and whoever wanted to know was told."""
        self._file(request).unlink(missing_ok=True)
        self._body(request).unlink(missing_ok=True)
        with self._lock:
            self._taken[request.endpoint].pop(request.id, None)
            self._not_before.pop(request.id, None)

    def backlog(self, endpoint: str) -> int:
        """How many requests have no result yet."""
        with self._lock:
            return len(self._waiting[endpoint]) + len(self._taken[endpoint])

    def endpoints(self) -> list[str]:
        """Those with requests, and those that had some."""
        with self._lock:
            return sorted(self._waiting)

    def drop(self, endpoint: str) -> None:
        """Forget an endpoint's requests, as SageMaker does with those of a deleted one."""
        with self._lock:
            self._waiting.pop(endpoint, None)
            self._taken.pop(endpoint, None)
            shutil.rmtree(self._folder / endpoint, ignore_errors=True)

    def _take(self, request: AsyncRequest) -> AsyncRequest:
        del self._waiting[request.endpoint][request.id]
        self._taken[request.endpoint][request.id] = request
        return request

    def _file(self, request: AsyncRequest) -> Path:
        return self._folder / request.endpoint / f"{request.id}.json"

    def _body(self, request: AsyncRequest) -> Path:
        return self._folder / request.endpoint / f"{request.id}.body"
