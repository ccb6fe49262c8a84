"""`python -m tests.gpuworker.entries.serving.fake_serve`: the container's entry with the task that has no model."""

import os

from tests.gpuworker.fake_task import FakeTask

from gpuworker.contract import WorkerSettings
from gpuworker.entries.serving import server

if __name__ == "__main__":
    settings = WorkerSettings.from_environment(os.environ)
    os._exit(server.run(settings, FakeTask, environment=os.environ))
