"""All benchmarks that need no GPU, each in a process of its own, to the end; what was missed or failed is said last.

    python -m benchmarks [--smoke]

Exit status 1 if one did not run through. A missed bar is no failure: absolute figures move with the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import MISSED

ROOT = Path(__file__).resolve().parents[1]
RUNS: Sequence[Sequence[str]] = (
    ("startup",),
    ("rle",),
    ("tiff",),
    ("submit",),
    ("fetch",),
    ("worker_efficiency",),
    ("rooms",),
    ("vegetation",),
    ("serve", "--task", "segment"),
    ("serve", "--task", "detect-rooms"),
    ("sam3_overhead", "--images", "12"),
)
"""As RESULTS.md has them: a module beside this one, and its options."""
LIMIT_S = 3600.0
"""For one of them; the longest takes minutes."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one benchmark."""

    name: str
    status: int
    lines: Sequence[str]

    @property
    def missed(self) -> list[str]:
        return [line for line in self.lines if MISSED in line]


def run(words: Sequence[str], *, limit_s: float = LIMIT_S) -> Outcome:
    """Run one, and print what it prints as it comes; it and what it has started are killed after `limit_s`."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its servers can be ended with it
    )
    assert process.stdout is not None
    timer = threading.Timer(limit_s, _kill, [process])
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
    return Outcome(name=" ".join(words), status=status, lines=lines)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:  # not reaped yet, so that its number is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None, *, runs: Sequence[Sequence[str]] = RUNS) -> int:
    """Run all of them, whatever becomes of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="only try them out")
    options = ["--smoke"] if parser.parse_args(arguments).smoke else []
    outcomes = []
    for words in runs:
        started = time.monotonic()
        print(f"--- {' '.join(words)}", flush=True)
        outcomes.append(run([*words, *options]))
        print(f"--- in {time.monotonic() - started:.0f} s\n", flush=True)
    failed = [one for one in outcomes if one.status]
    missed = [f"{one.name}: {line.strip()}" for one in outcomes for line in one.missed]
    print(*(f"FAILED {one.name}: exit status {one.status}" for one in failed), *missed, sep="\n")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} benchmarks ran through, {len(missed)} bars were missed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
