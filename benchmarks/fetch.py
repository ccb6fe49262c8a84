"""fetch of 2,000 files of 100 KB beside s5cmd, and of one file of 2 GB, from the same local server in the same run.

    python -m benchmarks.fetch [--files 2000] [--rounds 3] [--large-gb 2]

Processes in turn; the ratio is the median of the rounds'. Ours is timed from the call of `fetch` to its return:
listing, checksums, the merged COCO file and the report are in it, none of which s5cmd does; Python's start and imports
are given apart.
Bars: at least s5cmd's files a second; at most 0.5 ms of CPU a file; resident memory below 250 MB, the large file too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.report import Report, parsed

from benchmarks import transfer_rig as rig
from gpupipe.aws import Aws
from gpupipe.jobs.fetch import fetch
from gpuworker.contract import Artifact, ItemResult, ShardResult, output_prefix, result_key
from gpuworker.ledger import JobRecord, JobState, Ledger, ShardRecord

PROJECT, SHARD_ITEMS = "field7", 100

# --- what is fetched ---


def put_items(aws: Aws, bucket: str, job: str, count: int) -> Iterator[ItemResult]:
    """Items with two files of 100 KB each."""

    def put(key: str) -> Artifact:
        data = os.urandom(rig.FILE_BYTES)
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
        output_prefix(PROJECT, job, "DJI_00000") + "masks.tif",
        hashlib.sha256(),
        64 << 20,
    )
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    block, parts = os.urandom(min(part, size)), []
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
        job=job, pipeline=rig.PIPELINE, project=PROJECT, task="segment", kind="submitted", state=JobState.FINISHED,
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


def compare(given: argparse.Namespace, folder: Path, memory: Path) -> None:
    """Print the figures."""
    report = Report(is_smoke=given.smoke)
    with rig.server(folder / "emulators") as server:
        aws, bucket = server.aws(), server.bucket
        commit(aws, bucket, "small", put_items(aws, bucket, "small", given.files // 2))
        ours, theirs = [], []
        copy = server.s5cmd(f"s3://{bucket}/processed/*", f"{memory}/s5cmd/")
        for _ in range(given.rounds):
            if copy:
                theirs.append(rig.run(copy, server.environment))
                shutil.rmtree(memory / "s5cmd")
            ours.append(fetched(server, "small", memory / "ours"))
        rig.report_files(report, "fetch", given.files, ours, theirs)
        if given.large_gb:
            size = int(given.large_gb * 1e9)
            commit(aws, bucket, "large", [put_large_item(aws, bucket, "large", size)])
            rig.report_large(report, "fetch", size, fetched(server, "large", folder / "large"))


def fetched(server: rig.Server, job: str, folder: Path) -> rig.Run:
    """Fetch a job in a process of its own, and remove what it wrote."""
    run = rig.run([sys.executable, "-m", "benchmarks.fetch", "--fetch", job, str(folder)], server.environment)
    shutil.rmtree(folder)
    return run


def fetch_here(job: str, folder: Path) -> None:
    """Be the process that is measured."""
    with rig.printing_own_use():
        fetch(rig.connected(os.environ), job=job, folder=folder)


def main() -> None:
    """Compare, or be the process that is measured."""
    parser = rig.parser_of(__doc__)
    parser.add_argument("--fetch", nargs=2, metavar=("JOB", "FOLDER"), help=argparse.SUPPRESS)
    given = parsed(parser, smoke=rig.SMOKE)
    if given.fetch:
        fetch_here(given.fetch[0], Path(given.fetch[1]))
        return
    with tempfile.TemporaryDirectory() as folder, rig.memory_folder() as memory:
        compare(given, Path(folder), memory)


if __name__ == "__main__":
    main()
