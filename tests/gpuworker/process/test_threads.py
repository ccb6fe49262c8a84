"""Threads of the worker."""

from __future__ import annotations

import threading

from gpuworker.process.threads import start_daemon

LONG_S = 20.0


def test_a_daemon_runs_at_once_and_holds_up_no_exit() -> None:
    let_go = threading.Event()
    running = start_daemon(let_go.wait, name="gauge")
    assert (running.is_alive(), running.daemon, running.name) == (True, True, "gauge")
    let_go.set()
    running.join(LONG_S)
    assert not running.is_alive()
