"""The threads of a worker: daemons, because one that hangs in a driver or a call must not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable


def start_daemon(run: Callable[[], object], *, name: str) -> threading.Thread:
    """A thread that runs `run` and nothing else, started; the process ends without waiting for it."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
