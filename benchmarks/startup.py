"""How long `gpupipe --version` and `gpupipe --help` take, over a bare interpreter and beside importing boto3.

    python -m benchmarks.startup [--rounds 15]

Whole processes, in turn, medians of the rounds after a warm-up. Bars: --version 30 ms, --help 120 ms.
On a busy machine wall time says little: look at CPU time.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Report, parsed

BARE = "python -c pass"
BARS_MS = {"--version": 30.0, "--help": 120.0}


def run_ms(command: list[str]) -> tuple[float, float]:
    """Wall and CPU time of one whole process in milliseconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def measured(rounds: int) -> dict[str, tuple[float, float]]:
    """Command -> median wall and CPU milliseconds."""
    gpupipe = shutil.which("gpupipe", path=str(Path(sys.executable).parent)) or "gpupipe"
    commands = {
        BARE: [sys.executable, "-c", "pass"],
        "--version": [gpupipe, "--version"],
        "--help": [gpupipe, "--help"],
        "import boto3": [sys.executable, "-c", "import boto3"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for round_ in range(rounds + 1):
        for name, command in commands.items():
            took = run_ms(command)
            if round_:  # the first warms up
                times[name].append(took)
    return {
        name: (statistics.median(wall for wall, _ in both), statistics.median(cpu for _, cpu in both))
        for name, both in times.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parsed(parser, smoke={"rounds": 1})
    report, medians = Report(is_smoke=given.smoke), measured(given.rounds)
    print(f"{'command':<22}{'median ms':>10}{'CPU ms':>8}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:<22}{wall:>10.1f}{cpu:>8.1f}")
    for name, (wall, _) in medians.items():
        if name != BARE:
            report.ratio(f"time of {name}", BARE, wall / medians[BARE][0])
        if name in BARS_MS:
            report.bar(f"time of {name}", wall, BARS_MS[name], "ms")


if __name__ == "__main__":
    main()
