"""Rounds of one job each, in which processes are killed at moments drawn from the round's seed.

    python -m tests.soak [--rounds 20] [--images 200] [--seed N] [--folder .soak]

Each round has a stack of its own on the local target: up, submit, blows, watch, fetch, down. A round is good when every
image is there once, counts are exact, there is one job, and nothing is left running. The seed of each round is printed
before it begins; `--seed N --rounds 1` repeats one. What ended well is kept in FOLDER and not done again, so the same
command goes on after Ctrl-C. The folder of a round with faults stays, with the target's logs. Exit status: 0 where all
rounds are good, 1 where one has faults, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from tests.e2e.conftest import Person, settle, speckled
from tests.soak.record import Record
from tests.soak.storm import Blow, due, faults, round_of, seeds

PROJECT = "storm"
SIDE_PX = 320
"""Of a picture: about 0.1 s of the small detector, so that a blow falls in the middle of 200."""
LOOK_S = 1.0
ROUND_S = 900.0
"""The longest that a round may take. A restarted emulator of EC2 makes the guard wait for minutes."""


class RoundFailedError(Exception):
    """The round could not be ended; says at what."""


def main() -> int:
    """Do the rounds that are missing; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
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
            play(seed, given.images, folder / str(seed), record)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the round that was not ended", file=sys.stderr)
        return 130
    bad = record.missing(wanted)
    print(f"{len(wanted) - len(bad)} of {len(wanted)} rounds are good" + "".join(f"\n  seed {seed}" for seed in bad))
    return 1 if bad else 0


def first_seed(folder: Path, given: int | None) -> int:
    """The one given, else the one of the last time in this folder, else a new one."""
    path = folder / "seed"
    folder.mkdir(parents=True, exist_ok=True)
    if given is None:
        given = int(path.read_text()) if path.exists() else random.randrange(10**6)
    path.write_text(str(given))
    return given


def play(seed: int, images: int, folder: Path, record: Record) -> None:
    """One round; its folder stays where something is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    blows = round_of(seed).blows
    told = [f"{blow.victim} at {blow.at_share:.0%}" for blow in blows]
    print(f"seed {seed}: {', '.join(told)}", flush=True)
    started = time.monotonic()
    found: list[str] = []
    with stack(folder / "stack", found) as person:
        try:
            found += storm(person, images, seed, blows, ends_at=started + ROUND_S)
        except (RoundFailedError, AssertionError) as error:
            found.append(str(error))
    record.add(seed, faults=found, seconds=time.monotonic() - started, blows=told)
    print(f"  {'good' if not found else '; '.join(found)}, {time.monotonic() - started:.0f} s", flush=True)
    if not found:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def stack(folder: Path, found: list[str]) -> Iterator[Person]:
    """A stack that is up, and gone afterwards: what is left of it is a fault."""
    person = settle(folder, name="soak")
    try:
        person.runs("up", "--yes")
        yield person
        receipt = person.runs("down", "--yes", "--json", code=None)
        if receipt.code != 0 or receipt.document["leftovers"]:
            found.append(f"down left something: {receipt.out[-500:]}{receipt.err[-500:]}")
        if left := [process.pid for process in person.processes()]:
            found.append(f"processes {left} are left")
    finally:
        for process in person.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def storm(person: Person, images: int, seed: int, blows: Sequence[Blow], *, ends_at: float) -> list[str]:
    """Submit, kill, watch, fetch; what is wrong with what came back."""
    sent = [path.name for path in speckled(person.folder / "images", images, side=SIDE_PX, seed=seed).iterdir()]
    job = person.runs("submit", "images", "--project", PROJECT, "--json").document["job"]
    left = list(blows)
    while left:
        require_time(ends_at, f"waiting for {left[0].victim} at {left[0].at_share:.0%}")
        view = job_view(person, job)
        is_over = view["state"] in ("finished", "failed", "cancelled", "stalled")
        for blow in list(due(left, 1.0 if is_over else begun(view) / images)):
            left.remove(blow)
            strike(person, blow.victim)
        time.sleep(LOOK_S)
    while job_view(person, job)["state"] in ("submitted", "running", "stalled"):
        require_time(ends_at, "waiting for the job to end")
        time.sleep(LOOK_S)
    view = person.runs("watch", job, "--json", code=None).document
    person.runs("fetch", job, "-o", "results", code=None)
    merged = json.loads((person.folder / "results" / "annotations.json").read_text("utf-8"))
    return faults(view, [one["file_name"] for one in merged["images"]], sent, jobs=len(jobs(person)))


def jobs(person: Person) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = person.runs("jobs", "--project", PROJECT, "--json").document
    return listed


def job_view(person: Person, job: str) -> dict[str, Any]:
    return next(one for one in jobs(person) if one["job"] == job)


def begun(view: dict[str, Any]) -> int:
    return int(view["done"] + view["failed"] + view["in_progress"])


def require_time(ends_at: float, what: str) -> None:
    if time.monotonic() > ends_at:
        raise RoundFailedError(f"{what}: the round took longer than {ROUND_S:.0f} s")


def strike(person: Person, victim: str) -> None:
    """Kill it, where it runs at this moment."""
    for pid in PIDS.get(victim, _by_name(victim))(person):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            print(f"  killed {victim} {pid}", flush=True)


def _by_name(name: str) -> Callable[[Person], list[int]]:
    """Those of the local target that `status` names."""

    def pids(person: Person) -> list[int]:
        local = person.runs("status", "--json").document["local"]
        return [one["pid"] for one in local["processes"] if one["name"] == name]

    return pids


def _by_command(words: str) -> Callable[[Person], list[int]]:
    def pids(person: Person) -> list[int]:
        found = []
        for process in person.processes():
            with contextlib.suppress(psutil.Error):
                family = [process, *process.children(recursive=True)]
                found += [one.pid for one in family if words in " ".join(one.cmdline())]
        return sorted(set(found))

    return pids


PIDS = {"worker": _by_command("gpuworker.poll"), "machine": _by_command("gpupipe.local.machine")}
"""Those that are no part of what the supervisor names."""

if __name__ == "__main__":
    sys.exit(main())
