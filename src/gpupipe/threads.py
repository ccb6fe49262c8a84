"""Threads of a command: daemons, so that Ctrl-C need not wait for a slow answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
LIMIT = 24


def start_daemon(run: Callable[[], object], *, name: str) -> threading.Thread:
    """A thread that runs `run` and nothing else, started; the interpreter exits without waiting for it."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def start_daemons(run: Callable[[], object], count: int, *, name: str) -> list[threading.Thread]:
    """`count` of them that all run the same, as where each draws from one queue."""
    return [start_daemon(run, name=f"{name}-{number}") for number in range(count)]


def at_once(calls: Mapping[K, Callable[[], T]], *, limit: int = LIMIT) -> dict[K, Future[T]]:
    """The future answer of each call, made by at most `limit` threads.

    Not a ThreadPoolExecutor: the interpreter waits for one's threads before it exits, however long they take.
    """
    answers: dict[K, Future[T]] = {key: Future() for key in calls}
    waiting: SimpleQueue[K] = SimpleQueue()
    for key in calls:
        waiting.put(key)
    start_daemons(partial(_work, waiting, calls, answers), min(limit, len(calls)), name="at-once")
    return answers


def _work(waiting: SimpleQueue[K], calls: Mapping[K, Callable[[], T]], answers: Mapping[K, Future[T]]) -> None:
    while True:
        try:
            key = waiting.get_nowait()
        except Empty:
            return
        try:
            answers[key].set_result(calls[key]())
        except BaseException as error:  # handed to whoever asks for the answer
            answers[key].set_exception(error)
