"""What takes its time at the start: credentials, clients, the model. The socket listens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpuworker.contract import MODEL_DIR_VARIABLE, WORK_DIR_VARIABLE, WorkerSettings
from gpuworker.entries.log_sinks import DayFiles
from gpuworker.entries.serving.direct import JOB
from gpuworker.entries.serving.model_dir import DEFAULT_MODEL_DIR, task_options
from gpuworker.entries.setup import choose_device, open_context, wait_for_credentials
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.process.log import Log, Printed, Sink
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Task

DEFAULT_WORK_DIR = "/tmp/gpupipe"
ITEM_SHARE = 0.6
"""Of the invocation's time, for one item at most: one that takes longer has to fail by itself while the shard it came
with can still be committed."""


def open_for_serving(
    settings: WorkerSettings, make: Callable[[], Task], *, environment: Mapping[str, str], log: Log
) -> tuple[WorkerContext, Mapping[str, Any]]:
    """The worker's context with its model loaded, and the options for images that come without a job.

    Raises JournalBusyError, OptionsError, and whatever the task raises when it cannot load.
    """
    folder = Path(environment.get(WORK_DIR_VARIABLE) or DEFAULT_WORK_DIR)
    journal = Journal(folder / "journal")
    for left in [one for one in journal.left_behind if one.job == JOB]:  # its request is gone with its process
        journal.forget(left)
    options = task_options(Path(environment.get(MODEL_DIR_VARIABLE) or DEFAULT_MODEL_DIR), settings.task_options)
    longest_item_s = ITEM_SHARE * settings.invocation_timeout_s
    item_timeout_s = min(settings.item_timeout_s, longest_item_s)
    settings = replace(settings, task_options=options, item_timeout_s=item_timeout_s)
    session = wait_for_credentials(settings, log)
    storage = Storage(settings.bucket, region=settings.region, owner=settings.account, session=session)
    machine = str(log.fields["machine"])
    sinks: list[Sink] = [Printed(), DayFiles(storage, folder / "logs", machine.replace("/", "-"))]
    device = choose_device(settings.device)
    task = make()
    context = open_context(
        settings,
        task,
        session,
        storage,
        journal,
        Log(sinks, log.fields),
        machine=machine,
        device=device,
        folder=folder,
        longest_item_s=longest_item_s,
    )
    return context, options
