"""How a process ended, in words."""

import contextlib
import signal


def in_words(exit_code: int) -> str:
    """`exit code 3`, or `killed by SIGKILL` for the negative code that Python gives where a signal ended it."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"killed by signal {-exit_code}"
