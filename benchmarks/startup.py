"""How long `gpupipe --version` and `gpupipe --help` take, over a bare interpreter and beside the AWS CLI's own help.

Whole processes, in turn, medians of 15 after a warm-up. Bars: --version 30 ms, --help 120 ms.
On a busy machine wall time says little: look at CPU time.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
BARS_MS = {"--version": 30.0, "--help": 120.0}


def run_ms(command: list[str]) -> tuple[float, float]:
    """Wall and CPU time of one whole process in milliseconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    """Print the table."""
    gpupipe = shutil.which("gpupipe", path=str(Path(sys.executable).parent)) or "gpupipe"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--version": [gpupipe, "--version"],
        "--help": [gpupipe, "--help"],
        "import boto3 (peer)": [sys.executable, "-c", "import boto3"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for round_ in range(ROUNDS + 1):
        for name, command in commands.items():
            took = run_ms(command)
            if round_:
                times[name].append(took)
    bare = statistics.median(wall for wall, _ in times["python -c pass"])
    print(f"{'command':<22}{'median ms':>10}{'CPU ms':>8}{'over bare':>11}{'bar ms':>8}")
    for name, values in times.items():
        median, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        bar = BARS_MS.get(name)
        verdict = "" if bar is None else "ok" if median <= bar else "MISSED"
        print(f"{name:<22}{median:>10.1f}{cpu:>8.1f}{median / bare:>10.1f}x{bar or '':>8} {verdict}")


if __name__ == "__main__":
    main()
