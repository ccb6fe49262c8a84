"""Commands that change a stack, one at a time: who waits, for how long, and what they say meanwhile."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.account import Account
from tests.cli.conftest import Types
from tests.ticking import TickingClock

from gpupipe.cli.screen import Screen
from gpupipe.cli.stack import _delete
from gpupipe.cli.turns import ATTEMPTS, in_turn
from gpupipe.errors import GpupipeError, LockedError, LockLostError, StalePlanError
from gpupipe.local.emulators import Emulators
from gpupipe.lock import Lock
from gpupipe.plan import Event
from gpupipe.resources.state_bucket import StateBucket

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened
    from gpupipe.plan import Step

CONFIG = """
[stack]
name = "{name}"
target = "aws"
environment = "test"
[pipelines.segment]
kind = "queue"
task = "segment"
"""
_numbers = itertools.count(1)


@pytest.fixture
def account(account: Account) -> Account:
    """With a state bucket, and a clock of its own."""
    StateBucket.of(account.aws.stack).create(account.aws)
    account.aws.clock = TickingClock()
    return account


@dataclass
class Change:
    """What is done in turn: fails as it is told to, then succeeds."""

    failures: list[GpupipeError] = field(default_factory=list)
    attempts: int = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop()
        return "done"


def turn(account: Account, change: Change, *, wait: bool = True) -> str:
    return in_turn(account.aws, Screen(), change, command="gpupipe up", wait=wait)


def test_a_change_is_made_once_the_other_command_has_ended(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    # given another command that ends after a while
    other, change, clock = Lock(account.aws, command="gpupipe down"), Change(), TickingClock()
    account.aws.clock = clock
    other.acquire()
    clock.meanwhile = lambda: other.release() if clock.now > 10 else None
    # when
    assert turn(account, change) == "done"
    # then it was waited for, and that was said beside the answer
    printed = capsys.readouterr()
    assert (change.attempts, printed.out) == (1, "")
    assert "is being changed by" in printed.err
    assert "Waiting 120 s at most" in " ".join(printed.err.split())


def test_it_gives_up_after_two_minutes_in_all(account: Account) -> None:
    change, clock = Change(failures=[StalePlanError("changed.")]), TickingClock()
    account.aws.clock = clock
    with Lock(account.aws, command="gpupipe down"), pytest.raises(LockedError):
        turn(account, change)
    assert change.attempts == 0
    assert clock.now <= 120


def test_without_waiting_it_fails_at_once(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    change, clock = Change(), TickingClock()
    account.aws.clock = clock
    with Lock(account.aws, command="gpupipe down"), pytest.raises(LockedError):
        turn(account, change, wait=False)
    assert (change.attempts, clock.pauses, capsys.readouterr().err) == (0, [], "")


@pytest.mark.parametrize("error", [StalePlanError, LockedError])
def test_where_somebody_came_between_plan_and_lock_it_plans_anew(account: Account, error: type[GpupipeError]) -> None:
    change = Change(failures=[error("changed meanwhile.")])
    assert turn(account, change) == "done"
    assert change.attempts == 2


def test_but_not_for_ever(account: Account) -> None:
    change = Change(failures=[StalePlanError("changed meanwhile.") for _ in range(9)])
    with pytest.raises(StalePlanError):
        turn(account, change)
    assert change.attempts == ATTEMPTS


@pytest.mark.parametrize(("error", "wait"), [(LockLostError, True), (GpupipeError, True), (StalePlanError, False)])
def test_any_other_failure_is_the_commands(account: Account, error: type[GpupipeError], wait: bool) -> None:
    change = Change(failures=[error("no")])
    with pytest.raises(error):
        turn(account, change, wait=wait)
    assert change.attempts == 1


# --- typed ------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(emulated: Emulators, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lock]:
    """A folder to type in, and the lock of its stack, which this process holds."""
    account = Account.in_emulators(emulated, f"busy{next(_numbers)}")
    (folder / "gpupipe.toml").write_text(CONFIG.format(name=account.aws.stack.name))
    for name, value in emulated.environment.items():
        monkeypatch.setenv(name, value)
    StateBucket.of(account.aws.stack).create(account.aws)
    with Lock(account.aws, command="gpupipe down") as lock:
        yield lock


@pytest.mark.parametrize("command", ["up", "down"])
def test_no_wait_fails_at_once_and_names_who_has_the_lock(busy: Lock, types: Types, command: str) -> None:
    typed = types(command, "--yes", "--no-wait", "--json")

    assert (typed.code, "Waiting" in typed.err) == (1, False)
    assert f"(`gpupipe down`, process {os.getpid()})" in " ".join(f"{typed.out} {typed.err}".split())


@pytest.mark.parametrize("command", ["up", "down"])
def test_ctrl_c_ends_the_wait_at_once(busy: Lock, folder: Path, command: str) -> None:
    # given a command that has said whom it waits for
    with subprocess.Popen(
        [sys.executable, "-m", "gpupipe", command, "--yes"], cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        # when
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        code = process.wait(30)
    # then
    assert code == 130
    assert "Waiting 120 s at most" in said
    assert "stopped while waiting for the lock" in said
    assert "Traceback" not in said


class Forgetful:
    """What `down` was opened for; `forgotten` says how often the local target was told to make nothing again."""

    config = aws = None
    forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


@pytest.mark.parametrize("events", [0, 2])
def test_the_local_target_forgets_the_stack_only_once_something_goes(
    monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    # given a `down` before which another command comes, at once or in the middle
    def delete(*_: Any, on_event: Callable[[Event], None], **__: Any) -> None:
        for _ in range(events):
            on_event(Event(kind="started", text="delete", step=cast("Step", object())))
        raise LockedError("somebody else changes it.")

    monkeypatch.setattr("gpupipe.provision.plan_down", lambda *_, **__: SimpleNamespace(changes=()))
    monkeypatch.setattr("gpupipe.provision.down", delete)
    opened = Forgetful()
    with pytest.raises(LockedError):
        _delete(cast("Opened", opened), Screen(), yes=True, keep_data=False, pipeline="")
    assert bool(opened.forgotten) is bool(events)
