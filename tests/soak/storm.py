"""What happens in one round, decided by its seed alone: what is killed, and when."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class During(StrEnum):
    """The parts of a job, as its ledger shows them."""

    SUBMIT = "submit"
    """There is no job yet."""
    WORK = "work"
    """The job is open."""
    FETCH = "fetch"
    """The job is over, and what it made is being fetched."""


CLI = "cli"
"""The command that the person runs at that moment; the same command follows."""
KINDS = {
    "worker": ("worker",),
    "machine": ("machine",),
    "emulator": ("ministack", "moto"),
    "supervisor": ("supervisor",),
    "function": ("dispatch", "guard"),
    CLI: (CLI,),
}
"""Kinds of victims: a worker's process, what plays its machine, the emulators, what looks after the local target, the
processes of its Lambda functions, and commands. Each kind is as likely as any other."""
ONLY_IN_WORK = frozenset({"worker", "machine"})
"""Before and after it there is nobody to strike."""
BLOWS = (2, 5)
"""How many a round has, from the fewest to the most."""
BEFORE_S, AFTER_S = (0.3, 6.0), (0.2, 3.0)
"""When a blow may fall before there is a job, and after it is over: on two idle cores a command begins to work after
0.6 s, 200 pictures are sent in 3 s and fetched in 2 s."""
SHARES = (0.02, 0.95)
COMMANDS = (("run",), ("submit", "watch", "fetch"))
"""What a person may type to get from a folder of images to results."""


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A SIGKILL."""

    victim: str
    during: During
    at: float
    """In work the share of images that are behind it, 0 to 1; else seconds since that part began."""

    def __str__(self) -> str:
        at = f"{self.at:.0%}" if self.during is During.WORK else f"{self.at:.1f} s"
        return f"{self.victim} at {at} of {self.during}"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One job in a storm."""

    seed: int
    commands: Sequence[str]
    blows: Sequence[Blow]
    """In the order of their falling."""


def round_of(seed: int) -> Round:
    """The same round for the same seed, on whichever machine."""
    drawn = random.Random(seed)
    commands = drawn.choice(COMMANDS)
    blows = [_blow(drawn) for _ in range(drawn.randint(*BLOWS))]
    return Round(seed=seed, commands=commands, blows=sorted(blows, key=lambda blow: _moment(blow.during, blow.at)))


def _blow(drawn: random.Random) -> Blow:
    kind = drawn.choice(list(KINDS))
    during = During.WORK if kind in ONLY_IN_WORK else drawn.choice(list(During))
    spans = {During.SUBMIT: BEFORE_S, During.WORK: SHARES, During.FETCH: AFTER_S}
    return Blow(victim=drawn.choice(KINDS[kind]), during=during, at=round(drawn.uniform(*spans[during]), 3))


def seeds(first: int, rounds: int) -> Sequence[int]:
    """One a round: any of them can be had alone by its own number."""
    return range(first, first + rounds)


def due(blows: Sequence[Blow], during: During, at: float) -> Iterator[Blow]:
    """Those that fall by now: all of the parts before, and of this one those up to `at`."""
    return (blow for blow in blows if _moment(blow.during, blow.at) <= _moment(during, at))


def _moment(during: During, at: float) -> tuple[int, float]:
    """To be compared: the parts of a job come in their order."""
    return list(During).index(during), at
