"""What `submit` and `fetch` are both measured with: an emulated account, the peer s5cmd, processes run to their end.

S3 and the ledger's table are ministack, in a process of its own, whose CPU comes from the same cores. CPU and memory
are the client's alone. Files are in memory (/dev/shm) where there is such a folder: the disk is not what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report, peak_mb

from gpupipe.aws import Aws
from gpupipe.local import emulators, processes
from gpupipe.names import Stack

PIPELINE, FILE_BYTES = "segment", 100_000
RATE_BAR, CPU_BAR_MS, MEMORY_BAR_MB = 1.0, 0.5, 250
ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000
SMOKE: Mapping[str, Any] = {"files": 4, "rounds": 1, "large_gb": 0.001}


def parser_of(description: str) -> argparse.ArgumentParser:
    """With the options that both have."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-gb", type=float, default=2.0, help="size of the one large file; 0: none")
    return parser


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder for files, in memory if it can be."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


# --- the emulated account ---


@dataclass(frozen=True, kw_only=True)
class Server:
    """What clients need to know."""

    url: str
    environment: Mapping[str, str]
    bucket: str

    def aws(self) -> Aws:
        return connected(self.environment)

    def s5cmd(self, *arguments: str) -> list[str] | None:
        """The peer's command that copies; None where it is not installed. The package `s5cmd` brings it."""
        beside = str(Path(sys.executable).parent)
        found = shutil.which("s5cmd", path=beside) or shutil.which("s5cmd")
        return [found, "--endpoint-url", self.url, "--log", "error", "cp", *arguments] if found else None


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """An account with a stack's bucket and table, for the length of a `with` block."""
    emulators.require_installed()
    account, name = emulators.Account.new("us-east-1"), "ministack"
    port, process = emulators.start(name, folder, account=account, ports={}, with_parent=True)
    try:
        emulators.wait_ready(name, folder, process=process, port=port)
        url = f"http://127.0.0.1:{port}"
        # What is measured is a module of this repository; no process of the target looks where it is started.
        modules = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**emulators.environment(account, {"default": url}), "PYTHONPATH": modules}
        yield Server(url=url, environment=environment, bucket=_make_stack(connected(environment)))
    finally:
        processes.end(process, grace_s=emulators.STOP_GRACE_S)


def connected(environment: Mapping[str, str]) -> Aws:
    """The emulated account that `environment` leads to."""
    account, region = environment["AWS_ACCESS_KEY_ID"], environment["AWS_REGION"]
    keys = {"aws_access_key_id": account, "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"]}
    stack = Stack(name="bench", environment="dev", account=account, region=region)
    return Aws(stack=stack, endpoints={"default": environment["AWS_ENDPOINT_URL"]}, credentials=keys)


def _make_stack(aws: Aws) -> str:
    bucket = aws.stack.data_bucket(PIPELINE)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    aws.client("dynamodb").create_table(
        TableName=aws.stack.table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return bucket


# --- one process ---


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a process took; of ours without Python's start, which `start_s` and `start_cpu_s` tell."""

    wall_s: float
    cpu_s: float
    memory_mb: float = 0.0
    """Peak of resident memory; unknown of others' processes, since a child's begins at its parent's."""
    start_s: float = 0.0
    start_cpu_s: float = 0.0


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a process to its end. Raises SystemExit where it fails."""
    begin = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{command[0]} failed: {status}")
    wall_s, cpu_s = time.monotonic() - begin, used.ru_utime + used.ru_stime
    if not printed:
        return Run(wall_s=wall_s, cpu_s=cpu_s)
    started_at, start_cpu_s, memory_mb = map(float, printed.split())
    start_s = started_at - begin
    return Run(
        wall_s=wall_s - start_s,
        cpu_s=cpu_s - start_cpu_s,
        memory_mb=memory_mb,
        start_s=start_s,
        start_cpu_s=start_cpu_s,
    )


@contextlib.contextmanager
def printing_own_use() -> Iterator[None]:
    """In the process that is measured: print when and after how much CPU the block began, and its peak of memory."""
    print(time.monotonic(), time.process_time())
    yield
    print(peak_mb())


# --- the report ---


def report_files(report: Report, what: str, files: int, ours: Sequence[Run], theirs: Sequence[Run]) -> None:
    """The best of the rounds, and the median of their ratios; `theirs` is empty where the peer is not installed."""
    best = min(ours, key=lambda one: one.wall_s)
    _print_rate(what, files, ours)
    print(f"Python's start before it: {best.start_s:.2f} s, CPU {best.start_cpu_s:.2f} s")
    if theirs:
        _print_rate("s5cmd", files, theirs)
        both = list(zip(ours, theirs, strict=True))
        report.ratio(f"CPU of {what}", "s5cmd", statistics.median(our.cpu_s / their.cpu_s for our, their in both))
        rate = statistics.median(their.wall_s / our.wall_s for our, their in both)
        report.ratio(f"files/s of {what}", "s5cmd", rate, bar=RATE_BAR)
    else:
        report.peer_missing("s5cmd")
    report.bar(f"CPU of {what}, a file", min(one.cpu_s for one in ours) / files * 1000, CPU_BAR_MS, "ms")
    report.bar(f"{what}, resident", max(one.memory_mb for one in ours), MEMORY_BAR_MB, "MB")


def _print_rate(what: str, files: int, runs: Sequence[Run]) -> None:
    wall_s, cpu_s = min(one.wall_s for one in runs), min(one.cpu_s for one in runs)
    print(
        f"{what} of {files:,} files of 100 KB: {files / wall_s:.0f} files/s, CPU a file {cpu_s / files * 1000:.2f} ms"
    )


def report_large(report: Report, what: str, size: int, ours: Run) -> None:
    print(f"{what} of one file of {size / 1e9:g} GB: {size / MB / ours.wall_s:.0f} MB/s, CPU {ours.cpu_s:.1f} s")
    report.bar(f"{what} of one large file, resident", ours.memory_mb, MEMORY_BAR_MB, "MB")
