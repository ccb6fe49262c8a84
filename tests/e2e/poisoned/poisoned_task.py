"""`segment`, but inputs that end in a mark kill the whole process, wait before the model, or are slow."""

import os
import signal
import threading
import time
from pathlib import Path

from gpuworker.tasks.segment.task import Segment

KILLS, WAITS, ENDLESS = b"<kills the decoder>", b"<waits for its gate>", b"<takes half a minute for sixty>"
GATE = Path(os.environ.get("POISON_GATE", ""))
"""The file that says how many of those that wait may pass, in all; none where it is not there."""
GATE_PATIENCE_S = 120
CORES = os.cpu_count() or 1
"""As many are decoded at once: a job of slow images takes as long on every machine."""


class PoisonedSegment(Segment):
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self._waiting, self._passed, self._lock = [], 0, threading.Lock()

    def decode(self, data, source, options):
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.endswith(ENDLESS):
            time.sleep(0.5 * CORES)
        decoded = super().decode(data, source, options)
        if data.endswith(WAITS):
            self._waiting.append(decoded.payload)
        return decoded

    def run(self, batch, options):
        """Waits here, not while decoding: what decodes takes a core from those that have results to write."""
        for item in batch:
            if any(item.payload is one for one in self._waiting):
                until = time.monotonic() + GATE_PATIENCE_S
                while not self._passes() and time.monotonic() < until:
                    time.sleep(0.05)
        return super().run(batch, options)

    def _passes(self):
        with self._lock:
            passes = self._passed < int((GATE.read_text() if GATE.exists() else "") or 0)
            self._passed += passes
            return passes
