"""What the supervisor asks of a runner: of what plays the machines of one AWS service by processes of this machine.

A runner is one file, or one folder, beside this one and one line in `RUNNERS`. It compares what an emulator says
should run with the processes there are, and acts on the difference, so that nothing depends on having seen an event.
What it does with its processes is in `process_host`, whether they answer in `health`, where their lines go in
`worker_logs`. The smallest example is tests/local/runners/toy.py; read `ec2` after it.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

if TYPE_CHECKING:  # a machine's own process imports this package, and should be small
    from gpupipe.local.configuration import RunnerSettings
    from gpupipe.local.emulators import Account
    from gpupipe.local.state import Folder

RUNNERS: Mapping[str, str] = {
    "ec2": "gpupipe.local.runners.ec2.runner:Ec2Runner",
    "sagemaker": "gpupipe.local.runners.sagemaker.runner:SageMakerRunner",
}
"""Service -> "module:Class", in the order in which they work and are ended."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a runner is given for as long as the supervisor lives."""

    stack_id: str
    folder: Folder
    account: Account
    settings: Callable[[], RunnerSettings]
    """What the configuration says now; it may be edited meanwhile."""


@dataclass(frozen=True, kw_only=True)
class EmulatedAccount:
    """The emulated account, for as long as its emulators are where they are."""

    client: Callable[[str], Any]
    """boto3's name of a service -> a client that gives up at once."""
    endpoints: Mapping[str, str]
    """boto3's name of a service -> URL, with `default` for every other."""
    environment: Mapping[str, str]
    """The whole environment of a process that talks to them."""


class Runner(ABC):
    """Plays one service. What has no default below must be there: a class without it raises TypeError where it is
    made, and with `@final` before it fails the type check too.

    It is made once a supervisor, before the emulators start, opened when they answer, and closed and opened again
    where they come back at other addresses.
    """

    section: ClassVar[str]
    """Under which the target's status lists its workers, such as `machines`."""
    port_name: ClassVar[str] = ""
    """What its port is called where ports are noted; nothing where it does not listen."""
    serves: ClassVar[tuple[str, ...]] = ()
    """AWS services that it answers at its port, and no emulator does, by boto3's names."""
    emulator_environment: ClassVar[Mapping[str, str]] = {}
    """What tells the emulators that it is there."""

    def __init__(self, site: Site, *, port: int = 0) -> None:
        """Begin to listen, if it listens at all: at `port`, or at any where that is taken (or 0)."""
        self.site = site

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if lacking := sorted(name for name in _ASKED if _lacks(cls, name)):
            what = ", ".join(lacking)
            raise TypeError(f"{cls.__module__}.{cls.__qualname__} lacks {what}, which every runner is asked for")

    @property
    def port(self) -> int:
        """Where it listens."""
        return 0

    @abstractmethod
    def open(self, emulated: EmulatedAccount) -> None:
        """Take up work: adopt the workers that an earlier supervisor has left, end those that it had not noted."""

    @abstractmethod
    def step(self) -> None:
        """Bring the workers in line once; called twice a second, so it never waits for long. Nothing before `open`."""

    @abstractmethod
    def close(self) -> None:
        """End every worker, waiting until all have ended; nothing where it is not open. It may be opened again."""

    def end(self) -> None:
        """Close it and listen no more."""
        self.close()

    @classmethod
    @abstractmethod
    def status(cls, folder: Folder) -> list[dict[str, Any]]:
        """Its workers as plain JSON values, by what is in the stack's folder; asked whether or not a supervisor is
        there, and of one that runs."""

    @classmethod
    @abstractmethod
    def end_left(cls, folder: Folder) -> None:
        """End what a supervisor that is gone has left of its workers, waiting until all have ended."""


_ASKED = ("section", *sorted(Runner.__abstractmethods__))


def _lacks(cls: type[Runner], name: str) -> bool:
    return getattr(getattr(cls, name, None), "__isabstractmethod__", not hasattr(cls, name))


def runner_classes(runners: Mapping[str, str] = RUNNERS) -> tuple[type[Runner], ...]:
    """The classes of a table, imported."""
    found = []
    for target in runners.values():
        module, _, name = target.partition(":")
        found.append(cast("type[Runner]", getattr(importlib.import_module(module), name)))
    return tuple(found)
