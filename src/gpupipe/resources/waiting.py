"""Waiting for AWS to finish what it has accepted: bounded, and in steps short enough to be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable

from gpupipe.errors import AwsError

MAX_PAUSE_S = 5.0


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
