"""What happens in one round, decided by its seed alone: the images, and what is killed when."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

VICTIMS = ("worker", "machine", "supervisor", "ministack", "moto")
"""A worker's process, the process that plays its machine, what looks after the local target, and its two emulators."""
BLOWS = (1, 4)
"""How many a round has, from the fewest to the most."""


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A SIGKILL."""

    victim: str
    at_share: float
    """Of the job's images that are done or in work when it falls, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One job in a storm."""

    seed: int
    blows: Sequence[Blow]
    """In the order of their falling."""


def round_of(seed: int) -> Round:
    """The same round for the same seed, on whichever machine."""
    drawn = random.Random(seed)
    blows = [
        Blow(victim=drawn.choice(VICTIMS), at_share=round(drawn.uniform(0.05, 0.9), 3))
        for _ in range(drawn.randint(*BLOWS))
    ]
    return Round(seed=seed, blows=sorted(blows, key=lambda blow: blow.at_share))


def seeds(first: int, rounds: int) -> Sequence[int]:
    """One a round: any of them can be had alone by its own number."""
    return range(first, first + rounds)


def due(blows: Sequence[Blow], share: float) -> Iterator[Blow]:
    """Those that fall while `share` of the images are done or in work."""
    return (blow for blow in blows if blow.at_share <= share)


def faults(view: Mapping[str, int], found: Sequence[str], sent: Sequence[str], jobs: int) -> list[str]:
    """What is wrong with a job that has ended: nothing lost, nothing twice, exact counts, one job.

    `view` is what `watch --json` said, `found` the file names of the fetched annotations.json, `sent` those submitted,
    `jobs` how many the project has.
    """
    expected = {"items": len(sent), "done": len(sent), "failed": 0, "dead": 0, "cancelled": 0}
    wrong = [f"{name} is {view[name]} and not {count}" for name, count in expected.items() if view[name] != count]
    checks: Sequence[tuple[str, Callable[[str], bool]]] = (
        ("lost", lambda name: name not in found),
        ("there twice", lambda name: found.count(name) > 1),
    )
    for words, is_wrong in checks:
        if names := [name for name in sent if is_wrong(name)]:
            wrong.append(f"{len(names)} {words}: {', '.join(names[:5])}")
    if strangers := sorted(set(found) - set(sent)):
        wrong.append(f"{len(strangers)} never sent: {', '.join(strangers[:5])}")
    if jobs != 1:
        wrong.append(f"there are {jobs} jobs and not one")
    return wrong
