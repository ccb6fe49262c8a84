"""The process around the app: listens at once, loads the model, looks after the work, and ends in good order."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import uvicorn

from gpuworker.contract import BIND_HOST_VARIABLE, CALLER_TOKEN_VARIABLE, MACHINE_VARIABLE, WorkerSettings
from gpuworker.entries.serving.answers import problem
from gpuworker.entries.serving.app import App
from gpuworker.entries.serving.service import Service, State
from gpuworker.entries.serving.shards import Stop
from gpuworker.entries.setup import DEADMAN_S, EXIT_FAILED, EXIT_STUCK, tell_failure
from gpuworker.process.log import Log, Printed
from gpuworker.process.thread_priority import share_interpreter_finely
from gpuworker.tasks.base import Task

DEFAULT_PORT = 8080
KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, or they would meet one that is just being closed."""
BACKLOG = 1024
TICK_S = 0.1
DRAIN_FINISH_S, DRAIN_S = 8.0, 16.0
"""After SIGTERM: how long work may go on, and until when what is given back then has to be answered. SageMaker kills
after 30 s; the process is gone before 20."""
STUCK_S = 5.0
"""For answers to leave the process before it ends."""
CLOSE_LISTENER_S = 1.0


class Listener:
    """uvicorn in a thread of its own: the main thread keeps the signals, and loads the model meanwhile."""

    def __init__(self, app: App, *, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        config = uvicorn.Config(
            app,
            access_log=False,
            backlog=BACKLOG,
            date_header=False,
            lifespan="off",
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        run = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=run, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self, timeout_s: float) -> None:
        """Take no more connections, end those that are idle, and the thread."""
        self._server.should_exit = True
        self._thread.join(timeout_s)


def run(settings: WorkerSettings, make: Callable[[], Task], *, environment: Mapping[str, str]) -> int:
    """Serve until told to end; the exit status. Call it from the main thread: it handles signals."""
    service = Service(settings, Log([Printed()], {"machine": machine_of(settings, environment)}))
    signals: list[int] = []

    def on_signal(number: int, _: object) -> None:
        if service.state is State.STARTING:  # nothing is held yet
            os._exit(0)
        signals.append(number)  # no more: the thread that this interrupts may hold any lock

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    share_interpreter_finely()
    host = environment.get(BIND_HOST_VARIABLE) or "0.0.0.0"
    port = int(environment.get("SAGEMAKER_BIND_TO_PORT") or DEFAULT_PORT)
    app = App(service, local_only=host.startswith("127."), caller_token=environment.get(CALLER_TOKEN_VARIABLE, ""))
    listener = Listener(app, host=host, port=port)
    listener.start()
    service.log.info("listening", port=listener.port, pid=os.getpid())
    try:
        from gpuworker.entries.serving.opening import open_for_serving  # what it imports takes longer than to listen

        context, options = open_for_serving(settings, make, environment=environment, log=service.log)
        service.open(context, options)
        context.log.info("worker_ready")
        return _serve(service, listener, signals)
    except Exception as error:
        tell_failure(service.log, error)
        return EXIT_FAILED
    finally:
        listener.close(CLOSE_LISTENER_S)
        service.close()


def _serve(service: Service, listener: Listener, signals: Sequence[int]) -> int:
    """Look after what is in work until there is a reason to end, and until it has ended."""
    limit_s = service.settings.item_timeout_s + DEADMAN_S
    while not signals and service.state is State.READY and listener.is_alive:
        # Cannot be held up by a library that keeps the interpreter to itself: a thread of C, wound up all the time.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        service.tick()
        time.sleep(TICK_S)
    service.drain()
    service.log.info("worker_ends", reason=service.state if listener.is_alive else "no_server", in_work=service.in_work)
    if service.state is State.DRAINING:
        _wait_for_answers(service, DRAIN_FINISH_S)
        service.give_up(Stop.DRAINING, problem(503, "draining", "this instance ends; send the request again"))
        _wait_for_answers(service, DRAIN_S - DRAIN_FINISH_S)
    else:
        _wait_for_answers(service, STUCK_S)
    if service.state is State.STUCK:
        return EXIT_STUCK
    return 0 if listener.is_alive else EXIT_FAILED


def _wait_for_answers(service: Service, at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while service.in_work and time.monotonic() < deadline:
        service.tick()
        time.sleep(TICK_S / 2)


def machine_of(settings: WorkerSettings, environment: Mapping[str, str]) -> str:
    """`<variant>/<instance>`, as in the ledger's rows and in results; without a variant the instance alone."""
    instance = environment.get(MACHINE_VARIABLE) or socket.gethostname()
    return f"{settings.variant}/{instance}" if settings.variant else instance
