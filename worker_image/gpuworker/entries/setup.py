"""What every entry of the worker begins with: credentials, clients, the device, the model and the stream."""

from __future__ import annotations

import importlib.util
import math
import os
import time
from pathlib import Path
from typing import Any

from gpuworker.contract import WorkerSettings
from gpuworker.ledger import Ledger
from gpuworker.models import ModelError
from gpuworker.models.opening import open_models
from gpuworker.pipeline.isolation import ChildSettings, Isolator
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.pipeline.spool import Spool
from gpuworker.pipeline.stream import Stream
from gpuworker.process.gauge import gauge_of
from gpuworker.process.log import Log
from gpuworker.process.memory import SHARE_FOR_CHILD, memory_limit_bytes
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Task

EXIT_FAILED, EXIT_STUCK = 1, 75
DEADMAN_S = 60.0
"""On top of an item's timeout: if no Python ran for so long, a library holds the interpreter and the process ends."""
CLOSE_STREAM_S, CLOSE_LOG_S = 2.0, 2.0


def wait_for_credentials(settings: WorkerSettings, log: Log) -> Any:
    """A boto3 session that has credentials; a machine that has just booted may have to wait for them.

    Raises RuntimeError when none come within the pipeline's idle time.
    """
    import boto3

    deadline = time.monotonic() + settings.idle_minutes * 60
    pause_s = 1.0
    while True:
        session = boto3.Session(region_name=settings.region)
        if session.get_credentials() is not None:
            return session
        if time.monotonic() + pause_s > deadline:
            raise RuntimeError("there are no AWS credentials: the machine has no instance profile or no metadata")
        log.warning("waiting_for_credentials")
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 60.0)


def client(session: Any, service: str) -> Any:
    """boto3's client for a service, patient enough for a worker."""
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=20, max_pool_connections=16
    )
    return session.client(service, config=config)


def open_context(
    settings: WorkerSettings,
    task: Task,
    session: Any,
    storage: Storage,
    journal: Journal,
    log: Log,
    *,
    machine: str,
    device: str,
    folder: Path,
    longest_item_s: float = math.inf,
) -> WorkerContext:
    """Load the model and start the stream; below `folder` weights are kept.

    `longest_item_s`: for one item that runs alone, however many tiles it has. Raises whatever the task raises when it
    cannot load, ModelError among it.
    """
    ledger = Ledger(client(session, "dynamodb"), settings.table)
    log.info("worker_starts", task=settings.task, device=device, pid=os.getpid(), left_behind=len(journal.left_behind))
    started = time.monotonic()
    models = open_models(settings, storage=storage, session=session, ledger=ledger, root=folder / "models", log=log)
    task.use_models(models)
    task.load(device, settings.task_options)
    log.info(
        "task_loaded", engine=task.engine_info(settings.task_options), seconds=round(time.monotonic() - started, 3)
    )
    child = ChildSettings(
        task=ChildSettings.reference(task),
        device=device,
        options=settings.task_options,
        memory_limit_bytes=int(memory_limit_bytes() * SHARE_FOR_CHILD),
        item_timeout_s=settings.item_timeout_s,
        longest_item_s=longest_item_s,
        item_limit=settings.item_limit_setting,
        model=models.on_this_machine,
    )
    stream = Stream(
        task,
        storage,
        journal=journal,
        isolator=Isolator(child, log, fetch=models.folder),
        log=log,
        item_timeout_s=settings.item_timeout_s,
        item_limit=settings.item_limit_setting,
        spool=Spool(journal.folder / "spool"),
    )
    return WorkerContext(
        task=task,
        stream=stream,
        storage=storage,
        ledger=ledger,
        journal=journal,
        log=log,
        machine=machine,
        pipeline=settings.pipeline,
        variant=settings.variant,
        gauge=gauge_of(device).start(),
    )


def tell_failure(log: Log, error: Exception) -> None:
    """The last line of a worker that cannot go on; where a person has to act, what to do and no more."""
    if isinstance(error, ModelError) and error.is_final:
        log.bind(error=str(error)).error("worker_failed")
    else:
        log.error("worker_failed", error)


def choose_device(wanted: str) -> str:
    """`wanted`, or for "auto" cuda where there is a GPU that torch can use. Where there is none, torch stays unread."""
    if wanted != "auto":
        return wanted
    if not Path("/dev/nvidiactl").exists() or importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch  # type: ignore[import-not-found,unused-ignore]

    return "cuda" if torch.cuda.is_available() else "cpu"
