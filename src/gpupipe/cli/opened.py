"""Opens what a command works on: the configuration, and the target that it names, running or connected."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpupipe.cli.ending import AT_END
from gpupipe.cli.screen import Screen
from gpupipe.config import Config, find_file, load
from gpupipe.errors import NotDeployedError, UsageError

if TYPE_CHECKING:
    from gpupipe.aws import Aws
    from gpupipe.jobs import JobsContext
    from gpupipe.local.state import Target


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A configuration and the account, real or emulated, that it applies to."""

    path: Path
    config: Config
    aws: Aws

    @property
    def is_local(self) -> bool:
        return self.config.stack.target == "local"

    def context(self, pipeline: str | None = None) -> JobsContext:
        """Where the jobs of one pipeline live. Raises ConfigError where it is not clear which."""
        from gpupipe.jobs import JobsContext

        return JobsContext.of(self.aws, self.config, pipeline)

    def remember(self) -> None:
        """After an `up`: what the local target shall apply again should it lose its memory."""
        if self.is_local:
            from gpupipe.local.apply import remember

            remember(self.path, self.config.stack.id)

    def forget(self) -> None:
        """Before a `down`: the local target shall make nothing again that is being deleted."""
        if self.is_local:
            from gpupipe.local.apply import forget

            forget(self.path, self.config.stack.id)

    def rebuild(self) -> None:
        """Make the ledger again from what the buckets hold."""
        from gpupipe.jobs.rebuild import rebuild

        for pipeline in self.config.pipelines:
            rebuild(self.context(pipeline))

    def local_status(self) -> dict[str, Any] | None:
        """Processes and endpoints of the local target; None for AWS."""
        return _local_status(self.path, self.config) if self.is_local else None

    def close(self, *, remove: bool) -> None:
        """End the local target, if this is one."""
        if self.aws.attendant:
            self.aws.attendant.end()
        if self.is_local:
            from gpupipe.local.control import stop

            stop(self.path, stack_id=self.config.stack.id, remove=remove)


@dataclass(frozen=True, kw_only=True)
class OpenedLocal:
    """A running local target beside what it was opened for."""

    opened: Opened
    target: Target


def open_stack(file: str | None, screen: Screen, *, start: bool = False) -> Opened:
    """Load the configuration and reach its target.

    `start` brings the local target up where it is not; otherwise only one that crashed is resumed, and one that was
    never up, or is down, raises NotDeployedError. Raises ConfigError, CredentialsError, TargetError.
    """
    path = find_file(file)
    config = load(path)
    if config.stack.target == "local":
        return open_local(file, screen, start=start).opened
    from gpupipe.provision import connect

    return Opened(path=path, config=config, aws=connect(config))


def check_before_up(file: str | None, pipeline: str | None = None) -> None:
    """Before anything is started: weights in folders of this machine are there, and AWS has what is named of it.

    Of one pipeline, where it is named. Raises ConfigError.
    """
    from gpupipe.provision import check_offers

    config = load(find_file(file))
    config = config.only(pipeline) if pipeline else config
    config.check_folders()
    check_offers(config)


def open_local(file: str | None, screen: Screen, *, start: bool = False) -> OpenedLocal:
    """The local target, as `open_stack` says. Raises UsageError where the target is AWS."""
    path, config = require_local(file)
    if not start and not local_is_up(path, config):
        raise NotDeployedError(f"the local target of {config.stack.id} is not up.", hint="Start it with `gpupipe up`.")
    from gpupipe.local import control
    from gpupipe.local.attendant import Attendant

    target = control.ensure_running(
        path, stack_id=config.stack.id, region=config.stack.region, only_resume=not start, say=screen.say
    )
    for notice in target.notices:
        screen.say(f"note: {notice}")
    attendant = Attendant(path, stack_id=config.stack.id, target=target, say=screen.say).start()
    AT_END.callback(attendant.end)
    aws = control.connect(target, name=config.stack.name, environment=config.stack.environment, attendant=attendant)
    return OpenedLocal(opened=Opened(path=path, config=config, aws=aws), target=target)


def require_local(file: str | None, *, what: str = "`gpupipe local`") -> tuple[Path, Config]:
    """The configuration, where its target is local, which `what` is for. Raises UsageError otherwise."""
    path = find_file(file)
    config = load(path)
    if config.stack.target != "local":
        raise UsageError(f'{path.name} says target = "{config.stack.target}".', hint=f"{what} is for the local target.")
    return path, config


def adopt_local(file: str | None, screen: Screen) -> bool:
    """Take over the objects of a local target that somebody else made; False where it is one's own already.

    Raises TargetError, and UsageError where the target is AWS.
    """
    path, config = require_local(file, what="`--adopt`")
    from gpupipe.local.adoption import adopt

    adopted = adopt(path, stack_id=config.stack.id, region=config.stack.region)
    if adopted:
        screen.say(
            "note: the local target is yours now: the objects in its buckets were kept, nothing else of it was. "
            "What its secrets held must be set again."
        )
    return adopted


def forget_local(file: str | None, screen: Screen, *, yes: bool) -> Path | None:
    """Delete the folder of a local target, whoever has made it; None where there is none.

    Raises typer.Exit where the person says no, TargetError, and UsageError where the target is AWS.
    """
    path, config = require_local(file, what="`--forget`")
    from gpupipe.local.adoption import forget
    from gpupipe.local.state import Folder

    folder = Folder.at(path, config.stack.id).path
    if not os.path.lexists(folder):
        return None
    screen.confirm(f"Delete {folder} and all that is in it?", yes=yes)
    forget(path, stack_id=config.stack.id)
    return folder


@contextlib.contextmanager
def rehearsed(file: str | None, screen: Screen) -> Iterator[Opened]:
    """As `open_stack(start=True)`, but a local target that did not run before does not run after."""
    path = find_file(file)
    config = load(path)
    local = config.stack.target == "local"
    existed, ran = (local_exists(path, config), local_is_up(path, config)) if local else (True, True)
    opened = open_stack(file, screen, start=True)
    try:
        yield opened
    finally:
        if not ran:
            opened.close(remove=not existed)


def was_never_up(file: str | None) -> bool:
    """Is this a local target of which there is nothing, not even a folder?"""
    path = find_file(file)
    config = load(path)
    return config.stack.target == "local" and not local_exists(path, config)


def local_is_up(path: Path, config: Config) -> bool:
    """Does the local target run, or did it until it crashed?"""
    return _local_status(path, config)["phase"] in {"ready", "starting", "crashed"}


def local_exists(path: Path, config: Config) -> bool:
    """Is there anything of the local target, running or stopped?"""
    return Path(_local_status(path, config)["folder"]).exists()


def _local_status(path: Path, config: Config) -> dict[str, Any]:
    from gpupipe.local.control import status

    shown = status(path, stack_id=config.stack.id)
    shown.pop("environment")  # holds a key, if only to this machine; `gpupipe local env` prints it when asked
    return shown
