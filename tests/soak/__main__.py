"""Rounds of one job each, in which processes are killed at moments drawn from the round's seed.

    python -m tests.soak [--rounds 100] [--images 200] [--seed N] [--folder .soak]

Each round has a stack of its own on the local target: up, the commands from a folder of images to results, blows,
down. Killed are workers, machines, emulators, the supervisor, functions, and the command that runs, which is then typed
again.
A round is good when every image is there once, whole, and with what was planted in it, there is one job, nothing stood
still for longer than the visibility timeout and 10 s, and nothing is left running. The seed of each round is printed
before it begins; `--seed N --rounds 1` repeats one. What ended well is kept in FOLDER and not done again, so the same
command goes on after Ctrl-C. The folder of a round with faults stays, with the target's logs. Exit status: 0 where all
rounds are good, 1 where one has faults, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
from tests.e2e.conftest import Person, settle
from tests.soak.play import PIPELINES, Played, left_over, play
from tests.soak.record import Record
from tests.soak.storm import round_of, seeds


def main() -> int:
    """Play the rounds that are missing; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the first round; drawn and kept where it is not given")
    parser.add_argument("--folder", type=Path, default=Path(".soak"))
    given = parser.parse_args()
    folder = given.folder.resolve()
    wanted = seeds(first_seed(folder, given.seed), given.rounds)
    record = Record(path=folder / f"rounds-of-{given.images}.jsonl")
    missing = record.missing(wanted)
    print(f"seeds {wanted[0]} to {wanted[-1]}: {len(wanted) - len(missing)} rounds are good already", flush=True)
    try:
        for seed in missing:
            sound(seed, given.images, folder / str(seed), record)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the round that was not ended", file=sys.stderr)
        return 130
    bad = record.missing(wanted)
    print(f"{len(wanted) - len(bad)} of {len(wanted)} rounds are good; the longest stall {longest(record):.0f} s")
    for seed in bad:
        print(f"  seed {seed}: python -m tests.soak --rounds 1 --images {given.images} --seed {seed}")
    return 1 if bad else 0


def first_seed(folder: Path, given: int | None) -> int:
    """The one given, else the one of the last time in this folder, else a new one."""
    path = folder / "seed"
    folder.mkdir(parents=True, exist_ok=True)
    if given is None:
        given = int(path.read_text()) if path.exists() else random.randrange(10**6)
    path.write_text(str(given))
    return given


def longest(record: Record) -> float:
    """Seconds that nothing moved, at most, over all rounds."""
    return max((one.get("stall_s", 0.0) for one in record.rounds().values()), default=0.0)


def sound(seed: int, images: int, folder: Path, record: Record) -> None:
    """One round in a stack of its own; its folder stays where something is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    one, started = round_of(seed), time.monotonic()
    print(f"seed {seed}: {', '.join(one.commands)}; {', '.join(map(str, one.blows))}", flush=True)
    played = _in_a_stack(folder / "stack", seed, images)
    took_s = round(time.monotonic() - started, 1)
    record.add(
        seed,
        faults=played.faults,
        seconds=took_s,
        stall_s=round(played.stall_s, 1),
        blows=[str(blow) for blow in one.blows],
        failures=list(played.failures),
    )
    print(f"  {'; '.join(played.faults) or 'good'}, {took_s:.0f} s, longest stall {played.stall_s:.0f} s", flush=True)
    if not played.faults:
        shutil.rmtree(folder, ignore_errors=True)


def _in_a_stack(folder: Path, seed: int, images: int) -> Played:
    """Up, the round, down: what is left of the stack is a fault."""
    person = settle(folder, name="soak", pipelines=PIPELINES)
    try:
        person.runs("up", "--yes")
        played = play(person, round_of(seed), images=images, report=lambda text: print(f"  {text}", flush=True))
        if played.faults:
            shutil.copytree(folder / ".gpupipe", folder / "kept", ignore=shutil.ignore_patterns("s3", "tmp"))
        return replace(played, faults=[*played.faults, *left_over(person)])
    except (AssertionError, OSError) as error:
        return Played(faults=[str(error)])
    finally:
        _end(person)


def _end(person: Person) -> None:
    for process in person.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
