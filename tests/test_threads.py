"""Threads of a command: all daemons, each call's answer or error kept for whoever asks."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from gpupipe.jobs.flow import concurrently
from gpupipe.threads import at_once, start_daemon, start_daemons

LONG_S = 20.0


def test_a_daemon_runs_at_once_and_holds_up_no_exit() -> None:
    let_go = threading.Event()
    running = start_daemon(let_go.wait, name="attendant")
    assert (running.is_alive(), running.daemon, running.name) == (True, True, "attendant")
    let_go.set()
    running.join(LONG_S)
    assert not running.is_alive()


def test_several_run_the_same_together() -> None:
    together = threading.Barrier(3, timeout=LONG_S)
    threads = start_daemons(together.wait, 3, name="flow")
    for thread in threads:
        thread.join(LONG_S)
    assert [(thread.name, thread.is_alive()) for thread in threads] == [(f"flow-{n}", False) for n in range(3)]
    assert not together.broken


def test_calls_at_once_are_answered_each_by_itself_by_so_many_threads() -> None:
    def fails() -> str:
        raise KeyboardInterrupt

    threads: set[str] = set()

    def answers(word: str) -> str:
        threads.add(threading.current_thread().name)
        return word

    answer = at_once({"a": partial(answers, "A"), "b": fails, "c": partial(answers, "C")}, limit=2)
    assert (answer["a"].result(LONG_S), answer["c"].result(LONG_S)) == ("A", "C")
    with pytest.raises(KeyboardInterrupt):
        answer["b"].result(LONG_S)
    assert threads <= {"at-once-0", "at-once-1"}
    assert at_once({}) == {}


def test_both_ways_of_doing_much_at_once_leave_daemons_only() -> None:
    def is_daemon(_: int = 0) -> bool:
        return threading.current_thread().daemon

    assert at_once({"": is_daemon})[""].result(LONG_S)
    assert list(concurrently([1], is_daemon, threads=2)) == [(1, True)]
