"""`segment`, but inputs that end in a mark kill the whole process, hang, or are slow."""

import os
import signal
import time

from gpuworker.tasks.segment import Segment

KILLS, SLOW = b"<kills the decoder>", b"<is slow>"


class PoisonedSegment(Segment):
    def decode(self, data, source, options):
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.endswith(SLOW):
            time.sleep(0.15)
        return super().decode(data, source, options)
