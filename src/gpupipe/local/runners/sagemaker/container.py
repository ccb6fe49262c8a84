"""One instance of an emulated endpoint seen from outside: its folder, its process, and whether it answers `/ping`."""

import contextlib
import http.client
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from gpupipe.local import processes
from gpupipe.local.documents import read_json, write_json
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.ec2.machine import told
from gpupipe.local.runners.sagemaker.invocations import TOKEN
from gpupipe.local.runners.sagemaker.routing import Instance

CONTAINER_FILE = "container.json"
MODULE = "gpuworker.serve"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the room waits for its containers; the defaults are SageMaker's, where it has any."""

    ping_timeout_s: float = 2.0
    ping_pause_starting_s: float = 0.2
    ping_pause_s: float = 5.0
    deaf_pings: int = 4
    """So many unanswered pings in a row, and a container counts as hung and is started again."""
    drain_s: float = 10.0
    """How long requests in work keep a container that gets no new ones from being told to end."""
    term_grace_s: float = 30.0
    """From SIGTERM to SIGKILL."""
    restart_s: float = 1.0
    """Doubled after each end …"""
    restart_max_s: float = 30.0
    """… up to this."""
    invocation_s: float = 60.0
    """Of InvokeEndpoint."""
    startup_timeout_s: float = 480.0
    """Until the first good answer to /ping, where the endpoint configuration does not say."""


USUAL = Patience()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which container of which fleet this is."""

    endpoint: str
    config: str
    variant: str
    number: int


class Container:
    """The folder `endpoints/<endpoint>/<instance>` and the process that runs in it."""

    def __init__(self, folder: Path, identity: Identity, *, log: Path, patience: Patience = USUAL) -> None:
        self._patience = patience
        self.folder = folder
        self.identity = identity
        self.log = log
        self.name = folder.name
        self.failures = 0
        """How often it ended without ever having been ready."""
        self.was_ready = False
        self.ends = 0
        """How often its process ended though it was wanted."""
        self.instance = Instance(name=self.name, variant=identity.variant, url="")
        self._process: ProcessName | None = None
        self._started_at = 0.0
        self._healthy = False
        self._deaf = 0
        self._next_ping = 0.0
        self._ping: Future[None] | None = None
        self._restart_at = 0.0
        self._restart_pause_s = patience.restart_s
        self._leaving_at: float | None = None
        self._told_at: float | None = None
        self._lock = threading.Lock()

    @classmethod
    def read(cls, folder: Path, *, log: Path, patience: Patience = USUAL) -> "Container | None":
        """The container that an earlier supervisor had put here, or None."""
        noted = read_json(folder / CONTAINER_FILE)
        if noted is None:
            return None
        container = cls(folder, Identity(**noted["identity"]), log=log, patience=patience)
        container._process = ProcessName.from_json(noted["process"])
        container._started_at = noted["started_at"]
        container.failures = noted["failures"]
        container.was_ready = noted["was_ready"]
        container.instance.url, container.instance.token = noted["url"], noted["token"]
        return container

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def ready(self) -> bool:
        """Whether requests may be sent to it."""
        return self._healthy and self._leaving_at is None

    @property
    def running_s(self) -> float:
        return time.time() - self._started_at if self._process else 0.0

    @property
    def ended(self) -> str:
        """How its process ended, in words; nothing while it runs or was never started."""
        if self._process is None or self.alive:
            return ""
        code = processes.exit_code(self._process)
        return "the container ended" if code is None else f"the container ended: {told(code)}"

    def keep_running(self, *, command: Sequence[str], environment: Mapping[str, str], pings: Executor) -> None:
        """Start it, start it again after it has ended (with growing pauses), and see whether it answers."""
        now = time.monotonic()
        if self.alive:
            self._look(pings, now)
            return
        if self._process is not None and self._restart_at == 0.0:
            self._note_end(now)
        if now >= self._restart_at:
            self._start(command, environment)

    def _note_end(self, now: float) -> None:
        self._healthy = False
        self.failures += not self.was_ready
        self.ends += 1
        self._restart_at = now + self._restart_pause_s
        self._restart_pause_s = min(self._restart_pause_s * 2, self._patience.restart_max_s)

    def _start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        port = _free_port()
        (self.folder / "model").mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "work").mkdir(exist_ok=True, mode=0o700)
        token = secrets.token_urlsafe(24)
        own = {
            "GPUPIPE_CALLER_TOKEN": token,
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "GPUPIPE_BIND_HOST": "127.0.0.1",
            "GPUPIPE_MACHINE": self.name,
            "GPUPIPE_WORK_DIR": str(self.folder / "work"),
            "GPUPIPE_MODEL_DIR": str(self.folder / "model"),
        }
        self._process = processes.spawn(
            [*command, "-m", MODULE, "serve"], environment={**environment, **own}, folder=self.folder, log=self.log
        )
        self.instance.url, self.instance.token = f"http://127.0.0.1:{port}", token
        self._started_at, self._restart_at, self._deaf, self._next_ping = time.time(), 0.0, 0, 0.0
        self.note()

    def _look(self, pings: Executor, now: float) -> None:
        patience = self._patience
        if self._deaf >= patience.deaf_pings and self.was_ready and self._process:
            processes.end(self._process, grace_s=0.0)
        elif now >= self._next_ping and (self._ping is None or self._ping.done()):
            self._next_ping = now + (patience.ping_pause_s if self._healthy else patience.ping_pause_starting_s)
            self._ping = pings.submit(self._ask_health)

    def _ask_health(self) -> None:
        answered = ping(self.instance, timeout_s=self._patience.ping_timeout_s)
        with self._lock:
            first = answered and not self.was_ready
            # A busy container may be late once; one that says 503 gets nothing new from now on.
            self._deaf = self._deaf + 1 if answered is None else 0
            self._healthy = bool(answered) or (
                answered is None and self._healthy and self._deaf < self._patience.deaf_pings
            )
            self.was_ready = self.was_ready or bool(answered)
        if answered:
            self._restart_pause_s = self._patience.restart_s
        if first:
            self.note()

    def ask_end(self, *, at_once: bool = False) -> bool:
        """Let it finish what it works on, then SIGTERM, then SIGKILL; True when it has ended. Call until it has."""
        process = self._process.find() if self._process else None
        if process is None:
            return True
        now = time.monotonic()
        self._leaving_at = self._leaving_at or now
        if self._told_at is None:
            if at_once or not self.instance.in_flight or now - self._leaving_at > self._patience.drain_s:
                self._told_at = now
                with contextlib.suppress(psutil.Error):
                    process.terminate()
        elif now - self._told_at > self._patience.term_grace_s and self._process:
            processes.end(self._process, grace_s=0.0)
        return False

    def remove(self) -> None:
        """Take its disk away, once it has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def note(self) -> None:
        """Write down what the next supervisor needs to go on with it."""
        if self._process is None:
            return
        document: dict[str, Any] = {
            "identity": asdict(self.identity),
            "process": self._process.to_json(),
            "started_at": self._started_at,
            "failures": self.failures,
            "was_ready": self.was_ready,
            "url": self.instance.url,
            "token": self.instance.token,
        }
        write_json(self.folder / CONTAINER_FILE, document)


def ping(instance: Instance, *, timeout_s: float) -> bool | None:
    """Whether the container says that it is ready; None if nobody answers."""
    connection = http.client.HTTPConnection(instance.url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", "/ping", headers={TOKEN: instance.token})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def end_strays(folder: Path) -> None:
    """Kill containers below `folder` that a killed supervisor had started and not yet noted."""
    known = {container.pid for container in read_all(folder, logs=folder)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if MODULE in process.cmdline() and process.pid not in known:
                work = process.environ().get("GPUPIPE_WORK_DIR", "")
                if work and Path(work).is_relative_to(folder):
                    processes.end(ProcessName.of(process.pid), grace_s=0.0)


def read_all(folder: Path, *, logs: Path, patience: Patience = USUAL) -> list[Container]:
    """All containers noted below `folder` (`<endpoint>/<instance>`), with their logs in `logs`."""
    files = sorted(folder.glob(f"*/*/{CONTAINER_FILE}"))
    found = (Container.read(file.parent, log=log_file(logs, file.parent), patience=patience) for file in files)
    return [container for container in found if container]


def log_file(logs: Path, folder: Path) -> Path:
    """Where a container's output goes; it outlives the container."""
    return logs / f"{folder.parent.name}.{folder.name}.log"


def _free_port() -> int:
    """A port that is free now; should another take it, the container ends and is started on another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
