"""Waiting for AWS to finish what it has accepted: bounded, and in steps short enough to be interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from gpupipe.clock import Clock, looks
from gpupipe.errors import AwsError

FIRST_PAUSE_S = 0.25


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


def until(
    done: Callable[[], bool], *, clock: Clock, what: str, within_s: float, pause_s: float = FIRST_PAUSE_S
) -> None:
    """Return when `done()`; the pauses between looks grow. Raises AwsError saying that `what` took too long."""
    for _ in looks(clock, within_s=within_s, pause_s=pause_s):
        if done():
            return
    raise AwsError(
        f"{what} is still not so after {within_s:.0f} s.",
        hint="AWS may just be slow: run the same command again.",
    )
