"""The worker's entry in a container of an `endpoint` pipeline: SageMaker's contract, for either mode.

    python -m gpuworker.entries.serve [serve]

Settings: the variables GPUPIPE_WORKER, GPUPIPE_WORKER_1, … (WorkerSettings in pieces). SAGEMAKER_BIND_TO_PORT is the
port (default 8080), GPUPIPE_BIND_HOST the address (default all), GPUPIPE_MODEL_DIR the folder whose config.json may
set the task's options, GPUPIPE_WORK_DIR where state is kept that has to survive a crash, GPUPIPE_MACHINE this
instance's name. Exit status 0: told to end, and everything is answered or given back. 75: the model hangs. Any other:
it could not start.
"""

from __future__ import annotations

import os
import sys

from gpuworker.contract import ContractError, WorkerSettings
from gpuworker.entries.serving.server import run
from gpuworker.entries.setup import EXIT_FAILED
from gpuworker.tasks import TASKS, make_task


def main() -> None:
    """Serve; never returns. Threads that hang in a library cannot keep the process from ending."""
    status = EXIT_FAILED
    try:
        _require_serve(sys.argv[1:])
        settings = WorkerSettings.from_environment(os.environ)
        if settings.task not in TASKS:
            raise ContractError(f"there is no task {settings.task!r} in this image; there are {', '.join(TASKS)}")
        status = run(settings, lambda: make_task(settings.task), environment=os.environ)
    except (OSError, ValueError) as error:
        print(f"gpuworker: {type(error).__name__}: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _require_serve(arguments: list[str]) -> None:
    """SageMaker starts its containers with the one argument `serve`. Raises ValueError."""
    if arguments not in ([], ["serve"]):
        raise ValueError(f"the only argument is 'serve', not {' '.join(arguments)!r}")


if __name__ == "__main__":
    main()
