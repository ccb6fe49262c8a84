"""The worker's entry on a machine of a `queue` pipeline: works on shards from SQS until there is a reason to end.

    python -m gpuworker.entries.poll

Settings: the file that GPUPIPE_WORKER_CONFIG names (default /etc/gpupipe/worker.json). State that has to survive a
crash: the folder GPUPIPE_WORK_DIR. Exit status 0: idle, hard limit, told to end, about to be interrupted, or without
the weights that it needs (the machine's row in the ledger says why); whatever started it powers the machine off. Any
other: start it again.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpuworker.contract import CONFIG_VARIABLE, WORK_DIR_VARIABLE, WORKER_FILE, ContractError, WorkerSettings
from gpuworker.entries.delivery import WorkQueue
from gpuworker.entries.log_sinks import CloudWatch, DayFiles
from gpuworker.entries.message_handler import attempt
from gpuworker.entries.metadata import Metadata, machine_name, watch_for_notice
from gpuworker.entries.setup import (
    CLOSE_LOG_S,
    CLOSE_STREAM_S,
    DEADMAN_S,
    EXIT_FAILED,
    EXIT_STUCK,
    choose_device,
    client,
    open_context,
    tell_failure,
    wait_for_credentials,
)
from gpuworker.entries.worker import Reason, Worker
from gpuworker.ledger import Ledger
from gpuworker.models import ModelError
from gpuworker.pipeline.journal import Journal, JournalBusyError
from gpuworker.process.log import Log, Printed, Sink, redacted
from gpuworker.process.thread_priority import share_interpreter_finely
from gpuworker.process.threads import start_daemon
from gpuworker.storage.objects import Storage
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Task

DEFAULT_WORK_DIR = "/var/lib/gpupipe"
REASON_MAX = 500


def main() -> None:
    """Run a worker; never returns. Threads that hang in a library cannot keep the process from ending."""
    try:
        settings = read_settings(os.environ)
        status = run(settings, make_task(settings.task), environment=os.environ)
    except (OSError, ContractError, KeyError, JournalBusyError) as error:
        print(f"gpuworker: {type(error).__name__}: {error}", file=sys.stderr)
        status = EXIT_FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read_settings(environment: Mapping[str, str]) -> WorkerSettings:
    """This machine's settings, written at its launch. Raises OSError and ContractError."""
    return WorkerSettings.from_json(Path(environment.get(CONFIG_VARIABLE) or WORKER_FILE).read_bytes())


def run(settings: WorkerSettings, task: Task, *, environment: Mapping[str, str]) -> int:
    """Work until there is a reason to end; the exit status. Call it from the main thread: it handles signals."""
    worker: Worker | None = None
    signals: list[int] = []

    def on_signal(number: int, _: object) -> None:
        if worker is None:  # nothing is held yet
            os._exit(0)
        signals.append(number)  # no more: the thread that this interrupts may hold any lock

    def tick() -> None:
        if signals and worker:
            worker.stop(Reason.SIGNAL)
        # Cannot be held up by a library that keeps the interpreter to itself: a thread of C, wound up every second.
        faulthandler.dump_traceback_later(settings.item_timeout_s + DEADMAN_S, exit=True)

    share_interpreter_finely()
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    folder = Path(environment.get(WORK_DIR_VARIABLE) or DEFAULT_WORK_DIR)
    journal = Journal(folder / "journal")
    metadata = Metadata.of(environment)
    machine = machine_name(metadata)
    log = Log([Printed()], {"machine": machine})
    session: Any = None
    try:
        session = wait_for_credentials(settings, log)
        storage = Storage(settings.bucket, region=settings.region, owner=settings.account, session=session)
        log = _full_log(settings, session, storage, folder=folder, machine=machine)
        device = choose_device(settings.device)
        context = open_context(
            settings, task, session, storage, journal, log, machine=machine, device=device, folder=folder
        )
        worker = Worker(
            settings=settings,
            context=context,
            queue=_open_queue(settings, session, folder),
            on_tick=tick,
        )
        return _work(worker, metadata)
    except Exception as error:
        tell_failure(log, error)
        if session is not None and worker is None:
            attempt(log, "give_up", partial(_tell_why, error, settings, session, machine))
        # Weights were tried to be fetched for minutes by now, and a machine without them costs as much as any other.
        return 0 if isinstance(error, ModelError) else EXIT_FAILED
    finally:
        log.close(CLOSE_LOG_S)


def _tell_why(error: Exception, settings: WorkerSettings, session: Any, machine: str) -> None:
    """Say in the ledger why this machine cannot begin: the guard acts on it, and people read it."""
    reason = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
    Ledger(client(session, "dynamodb"), settings.table).worker_gave_up(
        settings.pipeline,
        machine,
        redacted(reason)[:REASON_MAX],
        hopeless=isinstance(error, ModelError) and error.is_final,
    )


def _work(worker: Worker, metadata: Metadata | None) -> int:
    ended = threading.Event()
    if metadata is not None:
        tell = partial(watch_for_notice, metadata, lambda notice: worker.stop(Reason(notice)), ended)
        start_daemon(tell, name="notice")
    log = worker.context.log
    attempt(log, "give_back", lambda: log.info("left_behind", messages=worker.queue.give_back_left_behind()))
    log.info("worker_ready")
    reason = worker.run()
    ended.set()
    worker.context.stream.close(CLOSE_STREAM_S)
    worker.context.storage.close()
    return EXIT_STUCK if reason is Reason.STUCK else 0


# --- putting it together ---


def _full_log(settings: WorkerSettings, session: Any, storage: Storage, *, folder: Path, machine: str) -> Log:
    sinks: list[Sink] = [
        Printed(),
        CloudWatch(client(session, "logs"), settings.log_group, machine),
        DayFiles(storage, folder / "logs", machine),
    ]
    return Log(sinks, {"machine": machine})


def _open_queue(settings: WorkerSettings, session: Any, folder: Path) -> WorkQueue:
    return WorkQueue(
        client=client(session, "sqs"),
        url=settings.queue_url,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        folder=folder / "held",
    )


if __name__ == "__main__":
    main()
