"""`python -m tests.gpuworker.fake_worker`: the worker's entry with the task that has no model."""

import os

from tests.gpuworker.fake_task import FakeTask

from gpuworker.entries import poll

if __name__ == "__main__":
    os._exit(poll.run(poll.read_settings(os.environ), FakeTask(batch_size=1), environment=os.environ))
