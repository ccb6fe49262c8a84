"""One instance of an emulated endpoint seen from outside: its folder, its process, and whether it answers `/ping`."""

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gpupipe.clock import SYSTEM, Clock
from gpupipe.local.runners.health import Health, Pings, http_ping
from gpupipe.local.runners.process_host import WorkerProcess, free_port, read_note
from gpupipe.local.runners.sagemaker.invocations import TOKEN
from gpupipe.local.runners.sagemaker.routing import EndpointInstance
from gpupipe.local.runners.worker_logs import Stream
from gpuworker.contract import (
    BIND_HOST_VARIABLE,
    CALLER_TOKEN_VARIABLE,
    MACHINE_VARIABLE,
    MODEL_DIR_VARIABLE,
    WORK_DIR_VARIABLE,
)

CONTAINER_FILE = "container.json"
MODULE = "gpuworker.entries.serve"
GROUP_PREFIX = "/aws/sagemaker/Endpoints/"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long containers are waited for; the defaults are SageMaker's, where it has any."""

    pings: Pings = field(default_factory=Pings)
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

    def __init__(
        self, folder: Path, identity: Identity, *, log: Path, patience: Patience = USUAL, clock: Clock = SYSTEM
    ) -> None:
        self.worker = WorkerProcess(
            folder, note=CONTAINER_FILE, log=log, term_grace_s=patience.term_grace_s, clock=clock
        )
        noted = self.worker.notes
        self._patience = patience
        self._clock = clock
        self.identity = identity
        self.name = folder.name
        self.log = log
        self.failures = int(noted.get("failures", 0))
        """How often it ended without ever having been ready."""
        self.ends = 0
        """How often its process ended though it was wanted."""
        self.instance = EndpointInstance(
            name=self.name, variant=identity.variant, url=noted.get("url", ""), token=noted.get("token", "")
        )
        self._health = Health(
            self._ask_health,
            pings=patience.pings,
            became_ready=self.write_note,
            was_ready=bool(noted.get("was_ready", False)),
            clock=clock,
        )
        self._started_at = float(noted.get("started_at", 0.0))
        self._restart_at = 0.0
        self._restart_pause_s = patience.restart_s
        self._leaving_at: float | None = None

    @property
    def pid(self) -> int | None:
        return self.worker.pid

    @property
    def alive(self) -> bool:
        return self.worker.alive

    @property
    def ready(self) -> bool:
        """Whether requests may be sent to it."""
        return self._health.is_good and self._leaving_at is None

    @property
    def was_ready(self) -> bool:
        """Whether it ever was."""
        return self._health.was_ready

    @property
    def running_s(self) -> float:
        return time.time() - self._started_at if self.worker.was_started else 0.0

    @property
    def ended(self) -> str:
        """How its process ended, in words; nothing while it runs or was never started."""
        if not self.worker.was_started or self.alive:
            return ""
        how = self.worker.exit
        return f"the container ended: {how}" if how else "the container ended"

    @property
    def stream(self) -> Stream:
        """Where its lines go."""
        name = stream_name(self.identity.variant, self.name)
        return Stream(worker=self.worker, group=f"{GROUP_PREFIX}{self.identity.endpoint}", name=name)

    def keep_running(self, *, command: Sequence[str], environment: Mapping[str, str], pings: Executor) -> None:
        """Start it, start it again after it has ended (with growing pauses), and see whether it answers."""
        if self._health.is_good:
            self._restart_pause_s = self._patience.restart_s
        if self.alive:
            self._look(pings)
            return
        now = self._clock.monotonic()
        if self.worker.was_started and self._restart_at == 0.0:
            self._note_end(now)
        if now >= self._restart_at:
            self._start(command, environment)

    def _look(self, pings: Executor) -> None:
        if self._health.is_hung:
            self.worker.kill()
        else:
            self._health.look(pings)

    def _note_end(self, now: float) -> None:
        self._health.begin_anew()
        self.failures += not self.was_ready
        self.ends += 1
        self._restart_at = now + self._restart_pause_s
        self._restart_pause_s = min(self._restart_pause_s * 2, self._patience.restart_max_s)

    def _start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        folder, port, token = self.worker.folder, free_port(), secrets.token_urlsafe(24)
        (folder / "model").mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "work").mkdir(exist_ok=True, mode=0o700)
        own = {
            CALLER_TOKEN_VARIABLE: token,
            "SAGEMAKER_BIND_TO_PORT": str(port),
            BIND_HOST_VARIABLE: "127.0.0.1",
            MACHINE_VARIABLE: self.name,
            WORK_DIR_VARIABLE: str(folder / "work"),
            MODEL_DIR_VARIABLE: str(folder / "model"),
        }
        self.instance.url, self.instance.token = f"http://127.0.0.1:{port}", token
        self._started_at = time.time()
        self.worker.start([*command, "-m", MODULE, "serve"], environment={**environment, **own}, notes=self._notes())
        self._restart_at = 0.0

    def _ask_health(self) -> bool | None:
        timeout_s = self._patience.pings.timeout_s
        return http_ping(self.instance.url, "/ping", headers={TOKEN: self.instance.token}, timeout_s=timeout_s)

    def ask_end(self, *, at_once: bool = False) -> bool:
        """Let it finish what it works on, then SIGTERM, then SIGKILL; True when it has ended. Call until it has."""
        now = self._clock.monotonic()
        self._leaving_at = now if self._leaving_at is None else self._leaving_at
        may_work = self.instance.in_flight and now - self._leaving_at <= self._patience.drain_s
        if may_work and not at_once and self.alive:
            return False
        return self.worker.ask_end()

    def remove(self) -> None:
        """Take its disk away, once it has ended."""
        self.worker.remove()

    def write_note(self) -> None:
        """Write down what the next supervisor needs to go on with it."""
        self.worker.write_note(self._notes())

    def _notes(self) -> dict[str, object]:
        return {
            "identity": asdict(self.identity),
            "started_at": self._started_at,
            "failures": self.failures,
            "was_ready": self.was_ready,
            "url": self.instance.url,
            "token": self.instance.token,
        }


def stream_name(variant: str, instance: str) -> str:
    """As SageMaker names the log stream of an instance."""
    return f"{variant}/{instance}"


def read_all(folder: Path, *, logs: Path, patience: Patience = USUAL, clock: Clock = SYSTEM) -> list[Container]:
    """All containers noted below `folder` (`<endpoint>/<instance>`), with their logs in `logs`."""
    found = []
    for file in sorted(folder.glob(f"*/*/{CONTAINER_FILE}")):
        if noted := read_note(file):
            log = log_file(logs, file.parent)
            found.append(Container(file.parent, Identity(**noted["identity"]), log=log, patience=patience, clock=clock))
    return found


def log_file(logs: Path, folder: Path) -> Path:
    """Where a container's output goes; it outlives the container."""
    return logs / f"{folder.parent.name}.{folder.name}.log"
