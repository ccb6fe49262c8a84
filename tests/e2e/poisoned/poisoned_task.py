"""`segment`, but inputs that end in a mark kill the whole process, hang, or are slow."""

import os
import signal
import time

from gpuworker.tasks.segment import Segment

KILLS, SLOW, ENDLESS = b"<kills the decoder>", b"<is slow>", b"<takes half a minute for sixty>"
CORES = os.cpu_count() or 1
"""As many are decoded at once: a job of slow images takes as long on every machine."""


class PoisonedSegment(Segment):
    def decode(self, data, source, options):
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.endswith(SLOW):
            time.sleep(0.075 * CORES)
        if data.endswith(ENDLESS):
            time.sleep(0.5 * CORES)
        return super().decode(data, source, options)
