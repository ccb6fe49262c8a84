"""The emulators: which one serves which AWS service and why, how they are started, awaited and ended."""

import contextlib
import os
import secrets
import socket
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupipe.errors import TargetError
from gpupipe.local import processes
from gpupipe.local.gate import READY_PATH
from gpupipe.local.processes import ProcessName
from gpupipe.local.signatures import Signatures

NAMES = ("moto", "ministack")  # in the order of starting: ministack's Lambda functions are given moto's address

# What moto serves; ministack serves everything else. Decided by trying both (ministack 1.5.33, moto 5.2.5).
# boto3's service name -> the name in AWS_ENDPOINT_URL_<NAME> (the service id; it differs from boto3's for some).
MOTO_SERVICES: Mapping[str, str] = {
    # ministack ignores launch templates and has neither CreateFleet with overrides, instance type offerings, spot
    # prices, GPU data of instance types nor DryRun.
    "ec2": "EC2",
    # The service that starts machines looks instance profiles up, so these two stay together.
    "iam": "IAM",
    # Auto Scaling groups start instances: they belong with EC2.
    "autoscaling": "AUTO_SCALING",
    "application-autoscaling": "APPLICATION_AUTO_SCALING",
    "ecs": "ECS",  # ministack would start Docker containers
    "elbv2": "ELASTIC_LOAD_BALANCING_V2",  # must see the VPC and subnets of moto's EC2
    "sagemaker": "SAGEMAKER",  # not in ministack
    "sagemaker-runtime": "SAGEMAKER_RUNTIME",  # where no runner is there, which really asks containers
}
# In neither, so that callers must take a refusal for "cannot be seen": Service Quotas for EC2, Pricing, Free Tier.

_KEPT = frozenset({"AWS_CA_BUNDLE"})

START_TIMEOUT_S = 30.0
STOP_GRACE_S = 10.0
PORT_PATIENCE_S = 2.0


class EmulatorEndedError(TargetError):
    """An emulator ended before it answered, as the last lines of its log may explain."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(
            f"The local target's {name} ended while starting. Its log {log} ends:\n{processes.last_lines(log)}"
        )
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Account:
    """The emulated account: the access key is the account number (ministack reads the account from it)."""

    account_id: str
    secret_key: str = field(repr=False)
    region: str

    @classmethod
    def new(cls, region: str) -> "Account":
        """A random account: its secret key is what the gate asks for."""
        digits = str(secrets.randbelow(9 * 10**11) + 10**11)
        return cls(account_id=digits, secret_key=secrets.token_hex(20), region=region)

    def with_number(self, account_id: str) -> "Account":
        """The same with another number, if one is given."""
        return replace(self, account_id=account_id or self.account_id)

    @property
    def access_key(self) -> str:
        return self.account_id

    @property
    def signatures(self) -> Signatures:
        """Those that the gate lets in."""
        return Signatures(access_key=self.access_key, secret_key=self.secret_key)


@dataclass(frozen=True, kw_only=True)
class Substitute:
    """What answers some services in the emulators' place."""

    port: int
    services: tuple[str, ...]
    """By boto3's names; none where it has only something to tell them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What tells the emulators that it is there."""


@dataclass(frozen=True, kw_only=True)
class Emulators:
    """Running emulators, and all that a client needs to talk to them."""

    account: Account
    ports: Mapping[str, int]
    processes: Mapping[str, ProcessName]
    substitutes: Sequence[Substitute] = ()

    @property
    def endpoints(self) -> dict[str, str]:
        """boto3 service name -> URL; `default` for every other service."""
        return endpoints(self.ports, self.substitutes)

    @property
    def environment(self) -> dict[str, str]:
        """What boto3, the AWS CLI and our own processes need in their environment."""
        return environment(self.account, self.endpoints)


def endpoints(ports: Mapping[str, int], substitutes: Iterable[Substitute] = ()) -> dict[str, str]:
    """Where each service is: at a substitute for those that it serves, at moto for moto's, `default` is ministack."""
    moto, ministack = (f"http://127.0.0.1:{ports[name]}" for name in ("moto", "ministack"))
    substituted = {name: f"http://127.0.0.1:{one.port}" for one in substitutes for name in one.services}
    return {"default": ministack} | dict.fromkeys(MOTO_SERVICES, moto) | substituted


def client_environment(account: Account, addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables by which boto3 and the AWS CLI talk to the emulators."""
    return {
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        "AWS_DEFAULT_REGION": account.region,
        "AWS_REGION": account.region,
        "AWS_ENDPOINT_URL": addresses["default"],
        **{f"AWS_ENDPOINT_URL_{_in_variable(name)}": url for name, url in addresses.items() if name != "default"},
    }


def _in_variable(service: str) -> str:
    """boto3's name of a service as AWS_ENDPOINT_URL_<NAME> has it: its service id, which botocore knows."""
    if service in MOTO_SERVICES:
        return MOTO_SERVICES[service]
    from botocore.session import Session

    return str(Session().get_service_model(service).service_id).replace(" ", "_").upper()


def clean_environment() -> dict[str, str]:
    """This process's environment without any trace of the person's own AWS set-up.

    Nothing that runs in the local target may ever reach a real account, so profiles and credential files are cut off
    as well as variables, and what is on this machine is not asked for through a proxy.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith("AWS_")}
    bypass = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost")))
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # `python -m` looks for modules where it is started, too: beside a configuration that came from somebody else.
        "PYTHONSAFEPATH": "1",
        "NO_PROXY": bypass,
        "no_proxy": bypass,
    }


def environment(account: Account, addresses: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process in the local target: emulators, their functions, machines."""
    return {**clean_environment(), **client_environment(account, addresses)}


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    region: str = "us-east-1",
    account: Account | None = None,
    substitutes: Sequence[Substitute] = (),
) -> Iterator[Emulators]:
    """Both emulators for the length of a `with` block, without supervisor or runners.

    With `substitutes`, `account` is the one that they let in.

    with emulators.running(tmp_path) as local:
        s3 = boto3.client("s3", endpoint_url=local.endpoints["default"], ...)
        subprocess.run(..., env=local.environment)
    """
    require_installed()
    account = account or Account.new(region)
    ports: dict[str, int] = {}
    started: dict[str, ProcessName] = {}
    try:
        for name in NAMES:
            ports[name], started[name] = start(
                name, folder, account=account, ports=ports, substitutes=substitutes, with_parent=True
            )
        for name in NAMES:
            wait_ready(name, folder, process=started[name], port=ports[name])
        yield Emulators(account=account, ports=ports, processes=started, substitutes=substitutes)
    finally:
        processes.end(*started.values(), grace_s=STOP_GRACE_S)


def require_installed() -> None:
    """Raise a `TargetError` that names the extra, if an emulator is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("ministack", "moto", "hypercorn") if find_spec(name) is None]
    if missing:
        raise TargetError(
            f"The local target needs {' and '.join(missing)}, which this installation lacks.",
            hint=processes.INSTALL,
        )


def start(
    name: str,
    folder: Path,
    *,
    account: Account,
    ports: Mapping[str, int],
    substitutes: Sequence[Substitute] = (),
    wanted_port: int = 0,
    with_parent: bool = False,
) -> tuple[int, ProcessName]:
    """Start one emulator (without waiting for it) on `wanted_port` if that is free; returns its port and process.

    `ports` holds those of the emulators already started, so that Lambda functions find them. `with_parent` makes it
    end when the process that started it does.
    """
    with bound_socket(wanted_port) as listener:
        port = int(listener.getsockname()[1])
        known = {**dict.fromkeys(NAMES, port), **ports, name: port}
        state = folder / name
        (state / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
        arguments = [name, "--fd", str(listener.fileno()), "--state", str(state)]
        presence = {variable: value for one in substitutes for variable, value in one.environment.items()}
        addresses = endpoints(known, substitutes)
        process = processes.spawn(
            processes.python_module("gpupipe.local.emulator", *arguments, *(["--with-parent"] if with_parent else [])),
            # TMPDIR: ministack unpacks Lambda code there; in our folder it goes when the stack goes.
            environment={**environment(account, addresses), **presence, "TMPDIR": str(state / "tmp")},
            folder=state,
            log=log_file(folder, name),
            pass_fds=(listener.fileno(),),
        )
    return port, process


def log_file(folder: Path, name: str) -> Path:
    """Where an emulator writes its output."""
    return folder / "logs" / f"{name}.log"


def bound_socket(wanted_port: int, *, patience_s: float = PORT_PATIENCE_S) -> socket.socket:
    """A socket bound to 127.0.0.1: on the wanted port, or on any free one if that is taken (or 0).

    A process just killed can hold its port for a moment longer while its threads end, hence the patience.
    """
    deadline = time.monotonic() + patience_s
    while wanted_port and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return _bind(wanted_port)
        time.sleep(0.05)
    try:
        return _bind(0)
    except OSError as error:
        raise TargetError(f"The local target finds no free port on 127.0.0.1: {error}.") from error


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def wait_ready(name: str, folder: Path, *, process: ProcessName, port: int) -> None:
    """Return when the emulator answers; raise `TargetError` with the end of its log when it is late, and
    `EmulatorEndedError` when it ends."""
    deadline, log = time.monotonic() + START_TIMEOUT_S, log_file(folder, name)
    while not answers(port):
        if not process.alive:
            raise EmulatorEndedError(name, log)
        if time.monotonic() > deadline:
            late = f"did not answer within {START_TIMEOUT_S:.0f} s"
            raise TargetError(f"The local target's {name} {late}. Its log {log} ends:\n{processes.last_lines(log)}")
        time.sleep(0.05)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on 127.0.0.1


def answers(port: int) -> bool:
    """Whether the gate on that port says that what is behind it is ready."""
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}{READY_PATH}", timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False
