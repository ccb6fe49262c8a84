"""Whatever is killed whenever: the next command goes on at once, and in the end all is as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.account import Account
from tests.convergence.commands import Command, Ended, Mould, mould
from tests.convergence.contents import Contents, contents, differences

from gpupipe.local.emulators import Emulators

ROUNDS = 30
KILLED_AT_LEAST = 15
"""Some end before the call they were to die at, since less was left to do."""
QUEUE = {"kind": "queue", "task": "segment"}
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/rooms"
ROOMS = {"kind": "endpoint", "task": "segment", "image": f"{IMAGE}:1"}
WANTED = {"segment": QUEUE, "rooms": ROOMS}
OTHERS: tuple[dict[str, Any], ...] = (
    {"segment": {**QUEUE, "visibility_timeout_s": 900, "max_receives": 2}, "rooms": {**ROOMS, "image": f"{IMAGE}:2"}},
    {"segment": {**QUEUE, "compute": {"instance_types": ["g5.xlarge"]}}, "rooms": {**ROOMS, "mode": "realtime"}},
    {"segment": QUEUE},
    {"rooms": ROOMS},
)
"""Other configurations of the same stack: settings, contents of what is named by them, and pipelines that leave."""
CALLS = {"calls": 300, "changes": 60}
"""Where the last ones die: a whole `up` or `down` of both pipelines makes 399 or 565 calls and 104 or 70 changes."""


@pytest.fixture
def run(emulated: Emulators, tmp_path: Path) -> Iterator[Mould]:
    with mould(emulated, tmp_path) as commands:
        yield commands


def drawn(stack: str, seed: int) -> list[Command]:
    """The killed commands of a seed."""
    dice = random.Random(seed)
    commands = []
    for _ in range(ROUNDS):
        counting = dice.choice(sorted(CALLS))
        commands.append(
            Command(
                verb=dice.choice(["up", "up", "down"]),
                stack=stack,
                pipelines=dice.choice([WANTED, *OTHERS]),
                die_at=dice.randint(1, CALLS[counting]),
                counting=counting,
                moment=dice.choice(["before-call", "after-call"]),
            )
        )
    return commands


def done(run: Mould, command: Command) -> Ended:
    """A command that is left alone, and has nobody to wait for."""
    ended = run.run(command)
    assert ended.code == 0, ended.said
    assert "Waiting" not in ended.said
    return ended


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [1])
def test_thirty_rounds_of_killed_commands_converge(emulated: Emulators, run: Mould, seed: int) -> None:
    # given what a clean `up` makes, and a clean `down` leaves
    account = Account.in_emulators(emulated, f"killed{seed}")
    up = Command(verb="up", stack=account.aws.stack.name, pipelines=WANTED)
    down = replace(up, verb="down")
    done(run, up)
    clean = contents(account.aws)
    done(run, down)
    assert contents(account.aws) == {}
    # when one command after the other is killed, each going on at once where the last was killed
    killed = 0
    for number, command in enumerate(drawn(account.aws.stack.name, seed)):
        ended = run.run(command)
        assert ended.code in {0, -signal.SIGKILL}, f"round {number}, {command}: {ended.said}"
        assert "Waiting" not in ended.said, f"round {number}, {command}: {ended.said}"
        killed += ended.code != 0
    # then a whole `up` makes exactly what a clean one makes, and a whole `down` leaves nothing
    assert killed >= KILLED_AT_LEAST
    done(run, up)
    check_equal(clean, contents(account.aws))
    done(run, down)
    assert contents(account.aws) == {}


def check_equal(clean: Contents, found: Contents) -> None:
    assert found.keys() == clean.keys()
    assert differences(clean, found) == []
