"""submit of 2,000 files of 100 KB beside s5cmd, and of one file of 2 GB, to the same local server in the same run.

    python benchmarks/submit.py [--files 2000] [--rounds 3] [--large-gb 2]

Processes in turn; the ratio is the median of the rounds'. Each submission is a new project, so that nothing is there
yet. Ours is timed from the call of `submit` to its return: searching the folder, comparing, draft, shards and the
manifest are in it, none of which s5cmd does; Python's start, imports and clients (see benchmarks/startup.py) are given
apart. CPU and memory are the client's alone; the server's CPU comes from the same cores. Files are read from memory
(/dev/shm) where there is such a folder. A second submission of the same files shows what leaving them alone costs.
Bars: at least s5cmd's files a second; at most 0.5 ms of CPU a file; resident memory below 250 MB, the large file too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fetch import MB, PIPELINE, Run, connected, make_stack, peak_mb, run, s5cmd, verdict

from gpupipe.config import Config
from gpupipe.jobs import JobsContext
from gpupipe.jobs.submit import submit
from gpupipe.local import emulators

FILE_BYTES = 100_000
CPU_BAR_MS, MEMORY_BAR_MB = 0.5, 250
JPEG = b"\xff\xd8\xff"


def make_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"DJI_{number:05}.jpg").write_bytes(JPEG + os.urandom(FILE_BYTES - len(JPEG)))


def make_large_file(place: Path, size: int) -> None:
    place.parent.mkdir()
    block = os.urandom(64 << 20)
    with place.open("wb") as opened:
        opened.write(b"II*\0")
        for start in range(4, size, len(block)):
            opened.write(block[: size - start])


def measured(command: Sequence[str], environment: dict[str, str]) -> Run:
    return run(command, environment, Path(tempfile.mkdtemp()))


def our_command(project: str, folder: Path) -> list[str]:
    return [sys.executable, __file__, "--submit", project, str(folder)]


def compare(arguments: argparse.Namespace, folder: Path, memory: Path) -> bool:
    """Print the figures; True when every bar is met."""
    make_files(memory / "files", arguments.files)
    with emulators.running(folder / "emulators") as local:
        environment = {**local.environment, "S3_ENDPOINT_URL": local.endpoints["default"]}
        bucket = make_stack(connected(environment))
        ours, theirs = [], []
        for number in range(arguments.rounds):
            copy = [s5cmd(), "--log", "error", "cp", f"{memory}/files/", f"s3://{bucket}/s5cmd{number}/"]
            theirs.append(measured(copy, environment))
            ours.append(measured(our_command(f"round{number}", memory / "files"), environment))
        met = report(arguments.files, ours, theirs)
        again = measured(our_command("round0", memory / "files"), environment)
        print(f"again, all of it there already: {arguments.files / again.wall_s:.0f} files/s, ", end="")
        print(f"CPU a file {again.cpu_s / arguments.files * 1000:.2f} ms")
        if arguments.large_gb:
            size = int(arguments.large_gb * 1e9)
            make_large_file(folder / "large" / "mosaic.tif", size)
            met &= report_large(size, measured(our_command("large", folder / "large"), environment))
    return met


def report(files: int, runs: Sequence[Run], their_runs: Sequence[Run]) -> bool:
    ours, theirs = (min(both, key=lambda one: one.wall_s) for both in (runs, their_runs))
    ratio = statistics.median(their.wall_s / our.wall_s for our, their in zip(runs, their_runs, strict=True))
    cpu_ms, their_cpu_ms = (min(one.cpu_s for one in both) / files * 1000 for both in (runs, their_runs))
    memory_mb = max(one.memory_mb for one in runs)
    met = ratio >= 1, cpu_ms <= CPU_BAR_MS, memory_mb <= MEMORY_BAR_MB
    print(
        f"submit of {files:,} files of 100 KB: {files / ours.wall_s:.0f} files/s; s5cmd {files / theirs.wall_s:.0f}; ",
        end="",
    )
    print(f"median of the rounds' ratios {ratio:.2f} (bar 1: {verdict(met[0])})")
    print(f"CPU a file {cpu_ms:.2f} ms (bar {CPU_BAR_MS} ms: {verdict(met[1])}); s5cmd {their_cpu_ms:.2f} ms")
    print(f"resident {memory_mb:.0f} MB (bar {MEMORY_BAR_MB} MB: {verdict(met[2])})")
    print(f"Python's start before it: {ours.start_s:.2f} s, CPU {ours.start_cpu_s:.2f} s")
    return all(met)


def report_large(size: int, ours: Run) -> bool:
    met = ours.memory_mb <= MEMORY_BAR_MB
    print(f"one file of {size / 1e9:g} GB: {size / MB / ours.wall_s:.0f} MB/s, CPU {ours.cpu_s:.1f} s, ", end="")
    print(f"resident {ours.memory_mb:.0f} MB (bar {MEMORY_BAR_MB} MB: {verdict(met)})")
    return met


def submit_here(project: str, folder: str) -> None:
    """Be the process that is measured."""
    aws = connected(dict(os.environ))
    stack = {"name": aws.stack.name, "environment": aws.stack.environment, "region": aws.stack.region}
    config = Config(stack=stack, pipelines={PIPELINE: {"kind": "queue", "task": "segment"}})
    ctx = JobsContext.of(aws, config)
    for service in ("s3", "dynamodb"):
        aws.client(service)
    print(time.monotonic(), time.process_time())
    submit(ctx, [folder], project=project)
    print(peak_mb())


def main() -> None:
    """Compare, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-gb", type=float, default=2.0)
    parser.add_argument("--submit", nargs=2, metavar=("PROJECT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.submit:
        submit_here(*arguments.submit)
        return
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=in_memory) as memory:
        raise SystemExit(0 if compare(arguments, Path(folder), Path(memory)) else 1)


if __name__ == "__main__":
    main()
