"""How long `gpupipe --version` and `gpupipe --help` take, over a bare interpreter and beside the AWS CLI's own help.

Whole processes, in turn, medians of 15 after a warm-up. Bars: --version 30 ms, --help 120 ms.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
BARS_MS = {"--version": 30.0, "--help": 120.0}


def run_ms(command: list[str]) -> float:
    """Wall time of one whole process in milliseconds."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return (time.perf_counter() - begin) * 1e3


def main() -> None:
    """Print the table."""
    gpupipe = shutil.which("gpupipe", path=str(Path(sys.executable).parent)) or "gpupipe"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--version": [gpupipe, "--version"],
        "--help": [gpupipe, "--help"],
        "import boto3 (peer)": [sys.executable, "-c", "import boto3"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(ROUNDS + 1):
        for name, command in commands.items():
            took = run_ms(command)
            if round_:
                times[name].append(took)
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':<22}{'median ms':>10}{'over bare':>11}{'bar ms':>8}")
    for name, values in times.items():
        median = statistics.median(values)
        bar = BARS_MS.get(name)
        verdict = "" if bar is None else "ok" if median <= bar else "MISSED"
        print(f"{name:<22}{median:>10.1f}{median / bare:>10.1f}x{bar or '':>8} {verdict}")


if __name__ == "__main__":
    main()
