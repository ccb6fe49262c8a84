"""The folder `.gpupipe/<stack>/` beside the configuration file: what is in it, who writes it, and its locks.

owner.json         what tells its owner's folder from a copy, and from one that came with a repository (mode 0600)
account.json       the emulated account: number, secret, region; made once (mode 0600)
record.json        phase, processes and ports of the target; written by the supervisor
endpoint.json      what clients need; there exactly while the target is ready (mode 0600)
notices/           what people should be told once, one file each; told/ those handed out a moment ago
applied.toml       the configuration as it was last applied; applied again after a restart
start.lock         held by a command that starts or stops the target
supervisor.lock    held by the supervisor for as long as it lives
logs/              of supervisor, emulators and machines
machines/<id>/     the disk of an emulated machine
endpoints/<e>/<i>/ the disk of instance <i> of the emulated endpoint <e>
requests/<e>/      asynchronous requests to endpoint <e> that have no result yet
ministack/ moto/   what the emulators keep
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from gpupipe.errors import ForeignFolderError, TargetError
from gpupipe.local import ownership
from gpupipe.local.documents import private, read_json, write_json
from gpupipe.local.emulators import Account
from gpupipe.local.processes import ProcessName

FOLDER = ".gpupipe"
TOLD_KEPT_S = 60.0
"""So long a notice that was handed out is there for the other commands that are at work, which look every second."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running local target as its clients see it."""

    account_id: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    endpoints: Mapping[str, str]
    """boto3 service name -> URL, with `default` for every other service."""
    generation: int
    """Grows with every start of the supervisor."""
    supervisor_pid: int
    started_at: float
    notices: tuple[str, ...] = ()
    """What happened since the last command and should be told: a crash, what was lost, what was rebuilt."""

    @property
    def credentials(self) -> dict[str, str]:
        """As boto3 takes them."""
        return {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}


@dataclass(frozen=True, kw_only=True)
class Record:
    """The supervisor's notes about itself and its processes, so that another can take over after a crash."""

    phase: str
    """`starting`, `ready`, `failed` or `stopped`."""
    generation: int = 0
    started_at: float = 0.0
    supervisor: ProcessName | None = None
    emulators: Mapping[str, ProcessName] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of moto, ministack, sagemaker-runtime and the instance metadata service; kept over restarts."""
    must_apply: bool = False
    """An emulator was started since the configuration was last applied, and may have forgotten what that made."""
    problem: str = ""
    """Why the phase is `failed`."""

    @property
    def supervised(self) -> bool:
        return self.supervisor is not None and self.supervisor.alive


class Folder:
    """One stack's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.endpoint_file = path / "endpoint.json"
        self.applied_file = path / "applied.toml"
        self.machines = path / "machines"
        self.containers = path / "endpoints"
        self.requests = path / "requests"
        self.logs = path / "logs"
        self.supervisor_log = self.logs / "supervisor.log"
        self._record_file = path / "record.json"
        self._account_file = path / "account.json"
        self._notices = path / "notices"

    @classmethod
    def of(cls, config_path: Path, stack_id: str) -> "Folder":
        """The folder of the stack that a configuration file describes. Raises ForeignFolderError if others made it."""
        folder = cls.at(config_path, stack_id)
        if reason := ownership.why_foreign(folder.path):
            raise ForeignFolderError(folder.path, reason)
        return folder

    @classmethod
    def at(cls, config_path: Path, stack_id: str) -> "Folder":
        """The same, whoever has made it: for those who neither start, ask nor end anything of it."""
        return cls(config_path.absolute().parent / FOLDER / stack_id)

    def create(self) -> None:
        """Make it, readable by its owner only, and keep it out of version control (it holds credentials)."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        ownership.claim(self.path)
        with contextlib.suppress(FileExistsError), open(self.path.parent / ".gitignore", "x") as ignore:
            ignore.write("*\n")

    def remove(self) -> None:
        """Delete it, and `.gpupipe` with the last of them. Killed in the middle, it is still its owner's."""
        for path in self.path.iterdir():
            if not ownership.says_nothing(path):
                remove(path)
        ownership.release(self.path)
        shutil.rmtree(self.path)
        self.remove_parent()

    def remove_parent(self) -> None:
        """Delete `.gpupipe` where no other stack lives there."""
        with contextlib.suppress(OSError):
            if {path.name for path in self.path.parent.iterdir()} <= {".gitignore"}:
                (self.path.parent / ".gitignore").unlink(missing_ok=True)
                self.path.parent.rmdir()

    def account(self, region: str) -> Account:
        """The emulated account, made at the first call."""
        document = read_json(self._account_file)
        if document is None:
            account = Account.new(region).with_number(_account_number(self.path))
            write_json(self._account_file, asdict(account))
            return account
        return Account(**{**document, "region": region})

    def read_record(self) -> Record:
        """What the last supervisor noted; phase `stopped` if there never was one."""
        document = read_json(self._record_file)
        if document is None:
            return Record(phase="stopped")
        supervisor = document["supervisor"]
        emulators = {name: ProcessName.from_json(process) for name, process in document["emulators"].items()}
        return Record(
            **{
                **document,
                "supervisor": ProcessName.from_json(supervisor) if supervisor else None,
                "emulators": emulators,
            }
        )

    def write_record(self, record: Record) -> None:
        write_json(self._record_file, asdict(record))

    def read_target(self) -> Target | None:
        """The endpoint file, or None while the target is not ready."""
        document = read_json(self.endpoint_file)
        return _loopback(Target(**document), self.endpoint_file) if document else None

    def write_target(self, target: Target) -> None:
        document = asdict(target)
        del document["notices"]
        write_json(self.endpoint_file, document)

    def add_notice(self, text: str) -> None:
        """Leave word for whichever command comes next."""
        self._notices.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(self._notices / f"{time.time_ns()}.json", {"at": time.time(), "text": text})

    def notices(self, *, take: bool) -> tuple[str, ...]:
        """The waiting notices, oldest first; `take` hands each of them to one caller only."""
        texts = []
        for file in self._waiting():
            document = read_json(file)
            if document and (not take or self._handed_out(file)):
                texts.append(str(document["text"]))
        return tuple(texts)

    def news(self, heard: set[str]) -> tuple[str, ...]:
        """Notices that came since: those not in `heard`, which grows by their names, oldest first. For a command that
        is at work: others are told them as well, if they are at work too, but none that comes later."""
        texts = []
        for file in sorted([*self._waiting(), *self._notices_handed_out()], key=lambda file: file.name):
            document = read_json(file) if file.name not in heard else None
            if document:
                heard.add(file.name)
                texts.append(str(document["text"]))
                self._handed_out(file)
        return tuple(texts)

    def handed_out(self) -> set[str]:
        """The names of notices that were handed out a moment ago."""
        return {file.name for file in self._notices_handed_out()}

    def _waiting(self) -> list[Path]:
        return sorted(self._notices.glob("*.json")) if self._notices.is_dir() else []

    def _notices_handed_out(self) -> list[Path]:
        return sorted(self._notices.glob("told/*.json")) if self._notices.is_dir() else []

    def _handed_out(self, file: Path) -> bool:
        """Hand a notice out; False where another command was faster."""
        told = self._notices / "told"
        told.mkdir(exist_ok=True, mode=0o700)
        for old in self._notices_handed_out():
            if time.time_ns() - int(old.stem) > TOLD_KEPT_S * 1e9:
                old.unlink(missing_ok=True)
        return _moved(file, told / file.name)

    @contextlib.contextmanager
    def starting(self, *, patience_s: float) -> Iterator[None]:
        """The lock under which a command starts or stops the target."""
        self.create()
        stream = _locked(self.path / "start.lock", patience_s=patience_s)
        if stream is None:
            raise TargetError(
                f"Another command has been starting or stopping the local target for {patience_s:.0f} s.",
                hint="Try again, or see `gpupipe status`.",
            )
        with stream:
            yield

    def supervisor_lock(self) -> IO[str] | None:
        """The lock of the one supervisor; None if another holds it. It is free when the file is closed."""
        return _locked(self.path / "supervisor.lock", patience_s=0.0)


def _account_number(folder: Path) -> str:
    """Twelve digits by where the folder is: `plan` before the first `up` names the buckets that `up` will make.

    The number is in every bucket's name and no secret; the key that signs requests is random.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).digest()
    return str(10**11 + int.from_bytes(digest) % (9 * 10**11))


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it; what a link leads to stays."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except RecursionError:  # folders in folders, as only others make them
        for one in [*walk(path)][::-1]:
            one.rmdir() if one.is_dir() and not one.is_symlink() else one.unlink()


def walk(path: Path) -> Iterator[Path]:
    """A path and all below it, parents first, however deep, and nothing that a link leads to."""
    left = [path]
    while left:
        one = left.pop()
        yield one
        if one.is_dir() and not one.is_symlink():
            left += one.iterdir()


def _loopback(target: Target, file: Path) -> Target:
    """A local target is on this machine; the stack's key is shown to no other. Raises TargetError."""
    for name, url in target.endpoints.items():
        parts = urlsplit(url)
        if (parts.scheme, parts.hostname) != ("http", "127.0.0.1"):
            raise TargetError(
                f"{file} names {url!r} for {name}, which is not on this machine.", hint="`gpupipe down` starts afresh."
            )
    return target


def _moved(file: Path, to: Path) -> bool:
    try:
        file.rename(to)
    except FileNotFoundError:
        return False
    return True


def _locked(file: Path, *, patience_s: float) -> IO[str] | None:
    """An exclusive lock on a file, or None if it stays taken; it ends with the process, however that ends."""
    deadline = time.monotonic() + patience_s
    while True:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stream = open(file, "a", encoding="utf-8", opener=private)  # noqa: SIM115  (held beyond this)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)
            continue
        if _is_still(file, stream):
            return stream
        stream.close()  # the folder was removed while we waited: lock its successor


def _is_still(file: Path, stream: IO[str]) -> bool:
    try:
        return file.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False
