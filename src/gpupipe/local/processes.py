"""Processes that outlive the command which started them: named so that no other is taken for one, ended in time."""

import contextlib
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gpupipe.errors import TargetError
from gpupipe.local.documents import private
from gpupipe.process_identity import boot_id
from gpuworker.contract import install_command

INSTALL = f"Install it with: {install_command('local')}"
try:
    import psutil
except ImportError as error:
    raise TargetError("The local target needs psutil, which this installation lacks.", hint=INSTALL) from error

# A pid is used again sooner or later; together with its start time it names one process of this boot. The time is
# kept twice because a clock that is set moves one of the two: on Linux the absolute one, on macOS the one since boot.
_SAME_START_S = 2.0

TOKEN = "GPUPIPE_PROCESS"
"""The variable with a random word, given to a process when it is started: no file that others made can name it."""

_LOG_BYTES = 5 * 2**20
_EXEC_S = 5.0
_ENDING_S = 5.0
"""An ending process loses its environment, and with that its name, while its memory is taken down: only then can it be
waited for. That took up to 0.1 s for 300 MB on two cores that six processes shared."""

# What this process has started, kept so that the ended ones are reaped, and how they ended.
_children: list[subprocess.Popen[bytes]] = []
_exits: dict[int, int] = {}


@dataclass(frozen=True, kw_only=True)
class ProcessName:
    """What identifies a process that `spawn` has started, for as long as the machine runs and ever after."""

    pid: int
    boot: str
    started_at: float
    since_boot_s: float
    token: str = field(repr=False)
    """In its environment, where only its owner can read it."""

    @classmethod
    def of(cls, pid: int) -> "ProcessName":
        """The name of a process that is there now; `psutil.Error` if it is not, or is another user's.

        A process that `spawn` has not started has no token, and will never be found by its name.
        """
        process = psutil.Process(pid)
        return _named(process, token=process.environ().get(TOKEN, ""))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ProcessName":
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def find(self) -> psutil.Process | None:
        """The process, if it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return process if self._is(process) and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def _is(self, process: psutil.Process) -> bool:
        return (
            self.boot == boot_id()
            and self._started_then(process)
            and bool(self.token)
            and secrets.compare_digest(process.environ().get(TOKEN, "").encode(), self.token.encode())
        )

    def _started_then(self, process: psutil.Process) -> bool:
        started_at = process.create_time()
        since_boot_s = started_at - psutil.boot_time()
        return min(abs(started_at - self.started_at), abs(since_boot_s - self.since_boot_s)) < _SAME_START_S

    @property
    def alive(self) -> bool:
        return self.find() is not None

    @property
    def computed_s(self) -> float:
        """Processor time it has used so far; 0 where it is gone."""
        try:
            times = found.cpu_times() if (found := self.find()) else None
        except psutil.Error:
            return 0.0
        return float(times.user + times.system) if times else 0.0


def _named(process: psutil.Process, *, token: str) -> ProcessName:
    started_at = process.create_time()
    since_boot_s = started_at - psutil.boot_time()
    return ProcessName(pid=process.pid, boot=boot_id(), started_at=started_at, since_boot_s=since_boot_s, token=token)


def spawn(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, pass_fds: Iterable[int] = ()
) -> ProcessName:
    """Start a process in its own session (Ctrl-C of a command does not reach it), its output appended to `log`."""
    _reap()
    token = secrets.token_hex(16)
    with _opened(log) as output:
        child = subprocess.Popen(
            list(command),
            env={**environment, TOKEN: token},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,  # what it writes is its owner's: state, logs, disks
            pass_fds=tuple(pass_fds),
        )
    _exits.pop(child.pid, None)
    _children.append(child)
    name = _named(psutil.Process(child.pid), token=token)
    _await_environment(child, name)
    return name


def _await_environment(child: "subprocess.Popen[bytes]", name: ProcessName) -> None:
    """Linux lets go of the parent a moment before the new program's environment can be read."""
    deadline = time.monotonic() + _EXEC_S
    while child.poll() is None and not name.alive and time.monotonic() < deadline:
        time.sleep(0.001)


def exit_code(name: ProcessName) -> int | None:
    """How a process that this one has started ended; None for others, and while it runs."""
    for child in _children:
        if child.pid == name.pid and not name.alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_ENDING_S)
    _reap()
    return _exits.get(name.pid)


def _reap() -> None:
    for child in list(_children):
        code = child.poll()
        if code is not None:
            _exits.setdefault(child.pid, code)
            _children.remove(child)


def running_modules(package: str, folder: Path) -> list[ProcessName]:
    """Our own processes that run a module of `package` (`python -m package.…`) for something in `folder`.

    Finds what nobody has noted: a process whose parent was killed between starting it and writing that down. Another
    user's, whose environment cannot be read, is none of ours.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            modules = [argument for argument in command if argument.startswith(package)]
            if modules and any(Path(argument).is_relative_to(folder) for argument in command):
                found.append(ProcessName.of(process.pid))
    return found


def _opened(log: Path) -> BinaryIO:
    """A log to append to; one that has grown large becomes `….old` first."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".old"))
    return open(log, "ab", opener=private)


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this very installation."""
    return [sys.executable, "-m", module, *arguments]


def end(*names: ProcessName, grace_s: float) -> bool:
    """SIGTERM processes, then SIGKILL them and all they started; True if all ended by themselves in time.

    What a process leaves behind when it ends in time is killed as well.
    """
    found = [process for process in (name.find() for name in names) if process]
    families = [member for process in found for member in _family(process)]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    late = _late(found, timeout_s=grace_s)
    _kill(families)
    return not late


def end_left_behind(name: ProcessName) -> None:
    """Kill what a process had started that was killed itself: its children have its word in their environment."""
    if not name.token or name.boot != boot_id() or name.alive:
        return
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if secrets.compare_digest(process.environ().get(TOKEN, "").encode(), name.token.encode()):
                left.append(process)
    _kill(left)


def _family(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def _kill(processes: list[psutil.Process]) -> None:
    """Kill what is left (psutil compares start times, so no stranger is hit)."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _late(processes, timeout_s=5.0)


def _late(processes: list[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended in time. How a child has is kept: it is told once, to psutil here, and `Popen` would
    take that for exit code 0."""
    ended, late = psutil.wait_procs(processes, timeout=timeout_s)
    codes = {process.pid: process.wait(timeout=0) for process in ended}  # kept by psutil; None for who is no child
    _exits.update({pid: int(code) for pid, code in codes.items() if code is not None})
    return list(late)


def last_lines(log: Path, *, count: int = 15, window_bytes: int = 16_384) -> str:
    """The end of a log file, for error messages."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - window_bytes))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
