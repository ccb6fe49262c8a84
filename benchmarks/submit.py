"""submit of 2,000 files of 100 KB beside s5cmd, and of one file of 2 GB, to the same local server in the same run.

    python -m benchmarks.submit [--files 2000] [--rounds 3] [--large-gb 2]

Processes in turn; the ratio is the median of the rounds'. Each submission is a new project, so that nothing is there
yet. Ours is timed from the call of `submit` to its return: searching the folder, comparing, draft, shards and the
manifest are in it, none of which s5cmd does; Python's start, imports and clients (see benchmarks/startup.py) are given
apart. A second submission of the same files shows what leaving them alone costs.
Bars: at least s5cmd's files a second; at most 0.5 ms of CPU a file; resident memory below 250 MB, the large file too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report, parsed

from benchmarks import transfer_rig as rig
from gpupipe.config import Config
from gpupipe.jobs import JobsContext
from gpupipe.jobs.submit import submit

JPEG = b"\xff\xd8\xff"


def make_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"DJI_{number:05}.jpg").write_bytes(JPEG + os.urandom(rig.FILE_BYTES - len(JPEG)))


def make_large_file(place: Path, size: int) -> None:
    place.parent.mkdir()
    block = os.urandom(min(size, 64 << 20))
    with place.open("wb") as opened:
        opened.write(b"II*\0")
        for start in range(4, size, len(block)):
            opened.write(block[: size - start])


def submitted(server: rig.Server, project: str, folder: Path) -> rig.Run:
    """Submit a folder in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.submit", "--submit", project, str(folder)]
    return rig.run(command, server.environment)


def compare(given: argparse.Namespace, folder: Path, memory: Path) -> None:
    """Print the figures."""
    report, files = Report(is_smoke=given.smoke), memory / "files"
    make_files(files, given.files)
    with rig.server(folder / "emulators") as server:
        ours, theirs = [], []
        for number in range(given.rounds):
            if copy := server.s5cmd(f"{files}/", f"s3://{server.bucket}/s5cmd{number}/"):
                theirs.append(rig.run(copy, server.environment))
            ours.append(submitted(server, f"round{number}", files))
        rig.report_files(report, "submit", given.files, ours, theirs)
        again = submitted(server, "round0", files)
        print(f"again, all of it there already: {given.files / again.wall_s:.0f} files/s, ", end="")
        print(f"CPU a file {again.cpu_s / given.files * 1000:.2f} ms")
        if given.large_gb:
            size = int(given.large_gb * 1e9)
            make_large_file(folder / "large" / "mosaic.tif", size)
            rig.report_large(report, "submit", size, submitted(server, "large", folder / "large"))


def submit_here(project: str, folder: str) -> None:
    """Be the process that is measured."""
    aws = rig.connected(os.environ)
    stack = {"name": aws.stack.name, "environment": aws.stack.environment, "region": aws.stack.region}
    config = Config(stack=stack, pipelines={rig.PIPELINE: {"kind": "queue", "task": "segment"}})
    ctx = JobsContext.of(aws, config)
    for service in ("s3", "dynamodb"):
        aws.client(service)
    with rig.printing_own_use():
        submit(ctx, [folder], project=project)


def main() -> None:
    """Compare, or be the process that is measured."""
    parser = rig.parser_of(__doc__)
    parser.add_argument("--submit", nargs=2, metavar=("PROJECT", "FOLDER"), help=argparse.SUPPRESS)
    given = parsed(parser, smoke=rig.SMOKE)
    if given.submit:
        submit_here(*given.submit)
        return
    with tempfile.TemporaryDirectory() as folder, rig.memory_folder() as memory:
        compare(given, Path(folder), memory)


if __name__ == "__main__":
    main()
