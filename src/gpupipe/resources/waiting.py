"""Waiting for AWS to finish what it has accepted: bounded, and in steps short enough to be interrupted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from gpupipe.errors import AwsError

MAX_PAUSE_S = 5.0


def _to_nobody(text: str) -> None:
    """Hears nothing."""


_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=_to_nobody)


def tell(text: str) -> None:
    """Say how far a long wait is, to whoever listens."""
    _listener.get()(text)


@contextlib.contextmanager
def telling(listener: Callable[[str], None]) -> Iterator[None]:
    """Within, in this thread, `listener` hears what is told."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def until(done: Callable[[], bool], *, what: str, within_s: float, pause_s: float = 0.25) -> None:
    """Return when `done()`; the pauses between looks grow. Raises AwsError saying that `what` took too long."""
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() + pause_s > deadline:
            raise AwsError(
                f"{what} is still not so after {within_s:.0f} s.",
                hint="AWS may just be slow: run the same command again.",
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.6, MAX_PAUSE_S)
