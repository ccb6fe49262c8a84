"""`detect-rooms`, but inputs that end in a mark kill the whole process, or never come back from the model."""

import os
import signal
import time

from gpuworker.tasks.detect_rooms.task import DetectRooms

KILLS, HANGS = b"<kills the container>", b"<never comes back>"


class PoisonedRooms(DetectRooms):
    def decode(self, data, source, options):
        if data.endswith(KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        decoded = super().decode(data, source, options)
        if data.endswith(HANGS):
            self.hung = decoded.payload
        return decoded

    def run(self, batch, options):
        if any(item.payload is getattr(self, "hung", self) for item in batch):
            time.sleep(10**6)
        return super().run(batch, options)
