from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from tests.ticking import TickingClock

from gpupipe.local.runners.health import Health, Pings, http_ping
from gpupipe.local.runners.process_host import free_port

PINGS = Pings(pause_starting_s=1.0, pause_s=10.0, unanswered=3)


class AtOnce(Executor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Worker:
    """A worker whose answers are given."""

    def __init__(self, *, was_ready: bool = False) -> None:
        self.clock = TickingClock()
        self.answer: bool | None = None
        self.times: list[float] = []
        self.became_ready = 0
        self.health = Health(self._ask, pings=PINGS, became_ready=self._note, was_ready=was_ready, clock=self.clock)

    def _ask(self) -> bool | None:
        self.times.append(self.clock.now)
        return self.answer

    def _note(self) -> None:
        self.became_ready += 1

    def look_for(self, seconds: int) -> None:
        for _ in range(seconds * 2):
            self.health.look(AtOnce())
            self.clock.now += 0.5


def test_a_worker_is_asked_often_until_it_is_ready_and_then_seldom() -> None:
    worker = Worker()
    # when nobody answers, then 503, then it is ready
    worker.look_for(2)
    worker.answer = False
    worker.look_for(2)
    assert (worker.times, worker.health.is_good, worker.health.is_hung) == ([0.0, 1.0, 2.0, 3.0], False, False)
    worker.answer = True
    worker.look_for(20)
    # then it was asked as often as that, and was noted once
    assert worker.times[4:] == [4.0, 5.0, 15.0]
    assert (worker.health.is_good, worker.health.was_ready, worker.became_ready) == (True, True, 1)


def test_a_ready_worker_may_be_late_but_not_unwilling() -> None:
    # given a worker that is ready
    worker = Worker()
    worker.answer = True
    worker.look_for(1)
    # when it does not answer twice, then it stays good; the third time it is hung
    worker.answer = None
    worker.look_for(20)
    assert (worker.health.is_good, worker.health.is_hung) == (True, False)
    worker.look_for(10)
    assert (worker.health.is_good, worker.health.is_hung) == (False, True)
    # and when its next process says 503, then that counts at once
    worker.health.begin_anew()
    assert not worker.health.is_hung
    worker.answer = True
    worker.look_for(1)
    worker.answer = False
    worker.look_for(10)
    assert (worker.health.is_good, worker.health.is_hung, worker.became_ready) == (False, False, 1)


def test_a_worker_that_was_never_ready_is_not_hung() -> None:
    worker = Worker()
    worker.look_for(20)
    assert not worker.health.is_hung
    # while one that an earlier supervisor had seen ready is
    adopted = Worker(was_ready=True)
    adopted.look_for(20)
    assert adopted.health.is_hung


def test_only_one_question_is_asked_at_a_time() -> None:
    worker = Worker()

    class Never(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            worker.times.append(worker.clock.now)
            return Future()

    never = Never()
    for _ in range(5):
        worker.health.look(never)
        worker.clock.now += 5
    assert len(worker.times) == 1


@pytest.fixture
def answers() -> Iterator[tuple[str, list[Any]]]:
    """Where a server is, and (path, header) of what it was asked: `/ping` is 200, another path 503."""
    heard: list[Any] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.path, self.headers.get("X-Word")))
            self.send_response(200 if self.path == "/ping" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def test_ping_is_answered_refused_or_unheard(answers: tuple[str, list[Any]]) -> None:
    url, heard = answers
    assert http_ping(url, "/ping", headers={"X-Word": "w"}, timeout_s=5.0) is True
    assert http_ping(url, "/other", headers={}, timeout_s=5.0) is False
    assert http_ping(f"http://127.0.0.1:{free_port()}", "/ping", headers={}, timeout_s=5.0) is None
    assert heard == [("/ping", "w"), ("/other", None)]
