"""`up` and `down` in processes of their own, killed where they are told to be.

Run as a module it is the mould: it has everything imported, and for each line on its stdin forks a process that does
one command, which takes a tenth of starting an interpreter. It answers with a line: how that process ended.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.account import Account

from gpupipe.aws import is_mutation
from gpupipe.cli.opened import Opened
from gpupipe.cli.screen import Screen
from gpupipe.cli.stack import bring_up, take_down
from gpupipe.config import Config
from gpupipe.local.emulators import Account as Keys
from gpupipe.local.emulators import Emulators

SERVICES = ("s3", "sqs", "dynamodb", "lambda", "iam", "logs", "scheduler", "secretsmanager", "ssm", "sns", "cloudwatch")
MOTO_SERVICES = ("application-autoscaling", "sagemaker", "ec2")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One `gpupipe up` or `gpupipe down`, and where it dies."""

    verb: str
    stack: str
    pipelines: Mapping[str, Any]
    """Of its configuration."""
    die_at: int = 0
    """Of its calls to AWS, counted from 1; 0 lets it live."""
    counting: str = "calls"
    """`calls`, or `changes` for those that change something."""
    moment: str = "before-call"
    """`before-call`, or `after-call`: AWS has answered, and nobody has heard it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended."""

    code: int
    """As `subprocess` has it: a negative signal where it was killed."""
    output: str
    """What it printed, stdout and stderr."""


@dataclass(frozen=True, kw_only=True)
class Mould:
    """The running mould, seen from the test."""

    process: subprocess.Popen[str]
    log: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, command: Command) -> Outcome:
        """Do it in a new process, and wait for its end."""
        said = self.log.with_suffix(f".{next(self.numbers)}")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({**asdict(command), "said": str(said)}), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Outcome(code=code, output=said.read_text(errors="replace"))


@contextmanager
def mould(emulated: Emulators, folder: Path) -> Iterator[Mould]:
    """A mould for commands in that account."""
    setting = json.dumps({"account": vars(emulated.account), "endpoints": emulated.endpoints})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.convergence.commands", setting],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, os.getcwd()])), "NO_COLOR": "1"},
    )
    with process:
        yield Mould(process=process, log=folder / "said")
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


# --- in the mould ---------------------------------------------------------------------------------------------


def _do(account: Account, path: Path, command: Command) -> None:
    stack = {"name": command.stack, "environment": "test", "target": "aws", "region": account.aws.stack.region}
    tables: dict[str, Any] = {"stack": stack, "pipelines": command.pipelines}
    config = Config(**tables)
    opened, screen = Opened(path=path, config=config, aws=account.aws), Screen()
    if command.verb == "up":
        bring_up(opened, screen, yes=True)
    else:
        take_down(opened, screen, yes=True)


def _death(command: Command) -> Callable[..., None]:
    """A hook on boto3's calls that kills this process at the one that the command names."""
    numbers = itertools.count(1)

    def hook(model: Any, **_: Any) -> None:
        counts = command.counting == "calls" or is_mutation(model.name)
        if counts and next(numbers) == command.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _child(account: Account, command: Command, said: Path) -> int:
    """What the forked process does; its exit code."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    account.aws.session.events.register(command.moment, _death(command))
    try:
        _do(account, said, command)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _serve(setting: Mapping[str, Any]) -> None:
    keys, endpoints = Keys(**setting["account"]), setting["endpoints"]
    _warm_up(Account.at(keys, "mould", endpoints=endpoints))
    for line in sys.stdin:
        document = json.loads(line)
        said = Path(document.pop("said"))
        command = Command(**document)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(Account.at(keys, command.stack, endpoints=endpoints), command, said))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _warm_up(account: Account) -> None:
    """Read the services' descriptions, which every forked process then has; clients begin no threads."""
    for service in (*SERVICES, *MOTO_SERVICES):
        account.aws.client(service)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
