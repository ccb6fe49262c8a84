"""`segment`, but inputs that end in a mark kill the whole process, wait, or are slow."""

import os
import signal
import time
from pathlib import Path

from gpuworker.tasks.segment import Segment

KILLS, WAITS, ENDLESS = b"<kills the decoder>", b"<waits for its gate>", b"<takes half a minute for sixty>"
GATE = Path(os.environ.get("POISON_GATE", ""))
"""The file that those that wait wait for."""
GATE_PATIENCE_S = 120
CORES = os.cpu_count() or 1
"""As many are decoded at once: a job of slow images takes as long on every machine."""


class PoisonedSegment(Segment):
    def decode(self, data, source, options):
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.endswith(WAITS):
            until = time.monotonic() + GATE_PATIENCE_S
            while not GATE.exists() and time.monotonic() < until:
                time.sleep(0.05)
        if data.endswith(ENDLESS):
            time.sleep(0.5 * CORES)
        return super().decode(data, source, options)
