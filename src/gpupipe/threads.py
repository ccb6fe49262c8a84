"""Calls made at the same time by daemon threads, so that Ctrl-C need not wait for a slow answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
LIMIT = 24


def at_once(calls: Mapping[K, Callable[[], T]], *, limit: int = LIMIT) -> dict[K, Future[T]]:
    """The future answer of each call, made by at most `limit` threads.

    Not a ThreadPoolExecutor: the interpreter waits for one's threads before it exits, however long they take.
    """
    answers: dict[K, Future[T]] = {key: Future() for key in calls}
    waiting: SimpleQueue[K] = SimpleQueue()
    for key in calls:
        waiting.put(key)
    for _ in range(min(limit, len(calls))):
        threading.Thread(target=_work, args=(waiting, calls, answers), daemon=True).start()
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
