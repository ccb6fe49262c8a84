"""Saves ministack's state while it runs, so that a killed emulator loses seconds and not everything.

By itself ministack saves at an orderly end only. (S3 is safe anyway: it writes objects and their versions as they
come.) What is saved may be some seconds older than what was answered: a message may come twice, a ledger row may be
missing; both are what gpupipe's jobs are built for (at least once executed, rebuilt from S3).
"""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
PAUSE_S = 2.0
_LOAD = 0.05  # at most this share of one core goes into saving, however large the state is


class Snapshots(threading.Thread):
    """Calls `save` from a thread of its own whenever `changes()` has moved since the last time."""

    def __init__(self, *, save: Callable[[], None], changes: Callable[[], int], pause_s: float = PAUSE_S) -> None:
        super().__init__(name="snapshots", daemon=True)
        self._save = save
        self._changes = changes
        self._pause_s = pause_s
        self._saved = 0
        self._ended = threading.Event()

    def run(self) -> None:
        pause_s = self._pause_s
        while not self._ended.wait(pause_s):
            started = time.monotonic()
            self._save_changes()
            pause_s = max(self._pause_s, (time.monotonic() - started) / _LOAD)

    def _save_changes(self) -> None:
        seen = self._changes()
        if seen == self._saved:
            return
        try:
            self._save()
            self._saved = seen
        except Exception:
            log.exception("the state could not be saved; tried again in a moment")

    def end(self) -> None:
        """Save what has changed since and stop."""
        self._ended.set()
        self.join(timeout=10.0)
        self._save_changes()
