"""Whatever is killed whenever: the next command goes on at once, and in the end all is as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.account import Account
from tests.convergence.commands import Command, Mould, Outcome, mould
from tests.convergence.contents import READERS, contents, differences

from gpupipe.local.emulators import Emulators

ROUNDS = 30
KILLED_AT_LEAST = 15
"""Some end before the call they were to die at, since less was left to do."""
TAKEN_OVER_AT_LEAST = 5
"""Who is killed while it plans has no lock yet."""
SERVICES_IN_USE = {*READERS} - {"secretsmanager"}
"""Of what these configurations make."""
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


def commands_of(stack: str, seed: int) -> list[Command]:
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


def run_whole(run: Mould, command: Command) -> Outcome:
    """A command that is left alone, and has nobody to wait for."""
    outcome = run.run(command)
    assert outcome.code == 0, outcome.output
    assert "Waiting" not in outcome.output
    return outcome


def run_in_turn(run: Mould, commands: Sequence[Command]) -> list[Outcome]:
    """Each goes on at once where the one before it was killed, and fails at nothing."""
    outcomes = []
    for number, command in enumerate(commands):
        outcome = run.run(command)
        assert outcome.code in {0, -signal.SIGKILL}, f"round {number}, {command}: {outcome.output}"
        assert "Waiting" not in outcome.output, f"round {number}, {command}: {outcome.output}"
        outcomes.append(outcome)
    return outcomes


@pytest.mark.exhaustive
@pytest.mark.timeout(900)  # a minute and a half of computing, on a machine that may have other work
@pytest.mark.parametrize("seed", [1])
def test_thirty_rounds_of_killed_commands_converge(emulated: Emulators, run: Mould, seed: int) -> None:
    # given what a clean `up` makes, and that a clean `down` leaves nothing
    account = Account.in_emulators(emulated, f"killed{seed}")
    up = Command(verb="up", stack=account.aws.stack.name, pipelines=WANTED)
    down = replace(up, verb="down")
    run_whole(run, up)
    clean = contents(account.aws)
    assert {name.split()[0] for name in clean} == SERVICES_IN_USE
    run_whole(run, down)
    assert contents(account.aws) == {}
    # when one command after the other is killed
    outcomes = run_in_turn(run, commands_of(account.aws.stack.name, seed))
    assert sum(outcome.code != 0 for outcome in outcomes) >= KILLED_AT_LEAST
    assert sum("its lock is taken over" in outcome.output for outcome in outcomes) >= TAKEN_OVER_AT_LEAST
    # then a whole `up` makes exactly what a clean one makes, and a whole `down` leaves nothing
    run_whole(run, up)
    assert differences(clean, contents(account.aws)) == []
    run_whole(run, down)
    assert contents(account.aws) == {}
