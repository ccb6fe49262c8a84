"""How much memory every process of a local target takes while images pass through it by the thousand.

    python -m tests.soak.growth [--images 10000] [--begin 2000] [--a-job 250] [--folder .soak/growth]

Jobs of small pictures, one after another in one stack, and after each the memory of every process. The bar: none has
grown by more than 100 MB between the first BEGIN images, when all that is loaded once is loaded, and the last; one that
began later counts from its first figure. Exit status: 0 where that holds, 1 where not. Takes half an hour for 10,000.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.e2e.conftest import Person, settle
from tests.soak.pictures import plant
from tests.soak.play import PIPELINES

MOST_MB = 100.0
ROLES = {
    "gpupipe.local.emulator ministack": "ministack",
    "gpupipe.local.emulator moto": "moto",
    "gpupipe.local.supervisor": "supervisor",
    "gpupipe.local.runners.ec2.machine": "machine",
    "gpuworker.entries.poll": "worker",
    "-dispatch-": "dispatch",
    "-guard-": "guard",
}
"""What is said on a process's command line -> what it is."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Memory after so many images."""

    images: int
    mb: Mapping[str, float]
    """Resident, by role and process id."""


def growths(samples: Sequence[Sample], *, begin: int) -> Mapping[str, float]:
    """MB that each process has grown by from its first figure at `begin` images or later to its largest after it."""
    late = [sample for sample in samples if sample.images >= begin]
    names = {name for sample in late for name in sample.mb}
    figures = {name: [sample.mb[name] for sample in late if name in sample.mb] for name in names}
    return {name: max(mb) - mb[0] for name, mb in sorted(figures.items())}


def role(command: str) -> str:
    """What a process is, by its command line; its last word where nothing is known."""
    return next((name for words, name in ROLES.items() if words in command), command.rsplit("/", 1)[-1][-40:])


def main() -> int:
    """Pass the images through; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--begin", type=int, default=2_000)
    parser.add_argument("--a-job", type=int, default=250)
    parser.add_argument("--folder", type=Path, default=Path(".soak/growth"))
    given = parser.parse_args()
    folder = given.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    grown = growths(measured(folder, images=given.images, a_job=given.a_job), begin=given.begin)
    for name, mb in grown.items():
        print(f"{name}: {mb:+.1f} MB between images {given.begin} and {given.images}")
    return int(not grown or max(grown.values()) > MOST_MB)


def measured(folder: Path, *, images: int, a_job: int) -> Sequence[Sample]:
    """Figures after each job of a stack of its own."""
    person = settle(folder / "stack", name="growth", pipelines=PIPELINES)
    samples = []
    try:
        person.runs("up", "--yes")
        for done in range(a_job, images + 1, a_job):
            pass_through(person, done, a_job)
            samples.append(Sample(images=done, mb=memory(person)))
            print(done, {name: round(mb, 1) for name, mb in samples[-1].mb.items()}, flush=True)
    finally:
        person.runs("down", "--yes", code=None)
        for process in person.processes():
            process.kill()
    return samples


def pass_through(person: Person, number: int, count: int) -> None:
    """One job from end to end, of pictures that no other has."""
    pictures = person.folder / f"growth-{number}"
    plant(pictures, count, seed=number)
    job = person.runs("submit", str(pictures), "--project", f"p{number}", "--json").document["job"]
    view = person.runs("watch", job, "--json").document
    assert (view["done"], view["failed"]) == (count, 0), view
    shutil.rmtree(pictures)


def memory(person: Person) -> Mapping[str, float]:
    """Resident MB of every process of the target and its children."""
    found = {}
    for process in person.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (process, *process.children(recursive=True)):
                found[f"{role(' '.join(one.cmdline()))} {one.pid}"] = one.memory_info().rss / 2**20
    return found


if __name__ == "__main__":
    sys.exit(main())
