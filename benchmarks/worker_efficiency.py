"""How much of the model's time the worker keeps: images a second end to end over a bare loop of the same engine.

    python -m benchmarks.worker_efficiency [--engines 5,30,300] [--latency-ms 30] [--scale 1] [--no-large]

The worker is the real one (`gpuworker.entries.worker.Worker`: queue, ledger, stream, commit) with the real JPEG
decoding, COCO and masks; its engine sleeps and returns five masks. S3 is a server in memory, in a process of its own,
that adds 30 ms each way to every request (`benchmarks/latency_s3.py`); SQS and DynamoDB are moto in another process.
Their CPU comes from the same cores. The time runs from the worker's first receive to its last commit in the ledger.

E = (images / that time) / (images a second of a loop that gives decoded images to the same engine).
Bars: 0.80, 0.93, 0.98 for engines of 5, 30, 300 ms on 640×480 JPEGs without overlays. 12 megapixels have no bar.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from benchmarks.report import Report, parsed

from gpuworker.contract import Item, Message, Shard, WorkerSettings, install_command, shard_key
from gpuworker.contract.items import Source
from gpuworker.engines.base import Engine
from gpuworker.engines.options import Options
from gpuworker.entries.delivery import WorkQueue
from gpuworker.entries.worker import Worker
from gpuworker.images.decoding import Image
from gpuworker.ledger import Ledger, ShardRecord
from gpuworker.masks.instances import Instance
from gpuworker.pipeline.isolation import ChildSettings, Isolator
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.pipeline.stream import Stream
from gpuworker.process.log import Log
from gpuworker.process.thread_priority import share_interpreter_finely
from gpuworker.storage.objects import Storage
from gpuworker.tasks.segment.task import Segment

BARS = {5: 0.80, 30: 0.93, 300: 0.98}
IMAGES = {5: 2560, 30: 768, 300: 128}
LARGE = {5: 64, 30: 64, 300: 64}
REGION, BUCKET = "us-east-1", "bench"
MASKS = 5
OPTIONS: Mapping[str, Any] = {"engine": "sleeping", "overlays": False, "thumbnails": False}
SETTINGS = WorkerSettings(
    stack="bench",
    pipeline="p",
    region=REGION,
    account="",
    bucket=BUCKET,
    queue_url="",
    table="",
    log_group="",
    task="segment",
    task_options=OPTIONS,
    idle_minutes=0.05,
)


class Sleeping(Engine, own={"sleep_s"}):
    """An engine that takes a fixed time an image, without using a core, and finds five discs."""

    sleep_s: ClassVar[float] = 0.0
    """An image; of the class, because the task makes its engines without arguments."""

    def load(self, device: str) -> None:
        """Nothing to load."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": "sleeping", "version": "1", "notes": "finds discs"}

    def categories(self, options: Options) -> Sequence[str]:
        return ("disc",)

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[list[Instance]]:
        time.sleep(self.sleep_s * len(prepared))
        return [discs(image.height, image.width) for image in prepared]


@functools.cache
def discs(height: int, width: int) -> list[Instance]:
    """Five discs with ragged edges, each about a fifth of the image high."""
    radius = height // 10
    rows, columns = np.ogrid[-radius:radius, -radius:radius]
    mask = rows**2 + columns**2 < radius**2 * (0.9 + 0.1 * np.sin(10 * np.arctan2(rows, columns)))
    return [
        Instance(x=width * (1 + i) // 8, y=height * (1 + i) // 8, mask=mask, score=0.9, category_id=1, source="disc")
        for i in range(MASKS)
    ]


def jpeg(height: int, width: int) -> bytes:
    """A picture with detail, as a photograph has."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(smooth.astype(np.int16) + random.integers(-12, 12, smooth.shape), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


# --- what plays AWS ---


@dataclass(frozen=True, kw_only=True)
class PlayedAws:
    """Addresses of the processes that play AWS."""

    s3: str
    other: str
    pids: Sequence[int]

    def client(self, service: str) -> Any:
        import boto3

        session: Any = boto3.Session(region_name=REGION)
        return session.client(service, endpoint_url=self.other)

    def storage(self) -> Storage:
        return Storage(BUCKET, region=REGION, endpoint=self.s3)

    def cpu_s(self) -> float:
        """CPU seconds that they took so far (Linux)."""
        ticks = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def played_aws(latency_ms: float) -> Iterator[PlayedAws]:
    """S3 with latency, and moto for the rest. Raises SystemExit where moto is not installed."""
    if importlib.util.find_spec("moto") is None:
        raise SystemExit(f"this benchmark needs moto for queue and ledger: {install_command('local')}")
    moto = "from moto.server import ThreadedMotoServer as S;s=S(port=0,verbose=False);s.start();"
    moto += "print(s.get_host_and_port()[1],flush=True);import sys;sys.stdin.read();s.stop()"
    commands = [["-m", "benchmarks.latency_s3", str(latency_ms)], ["-c", moto]]
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for command in commands
    ]
    try:
        ports = [int(process.stdout.readline()) for process in started if process.stdout]
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        yield PlayedAws(s3=addresses[0], other=addresses[1], pids=[process.pid for process in started])
    finally:
        for process in started:
            process.kill()
            process.wait()


# --- one measurement ---


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured."""

    sleep_ms: int
    images: int
    height: int
    width: int
    shard: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}-{self.sleep_ms}ms-{time.time_ns()}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out."""

    efficiency: float
    images_a_second: float
    cpu_ms: float
    """Of the worker, an image."""
    aws_cpu_ms: float
    """Of what plays AWS, an image."""
    stage_ms: Mapping[str, float]
    peak_mb: float
    """Most bytes in flight."""


def prepare(case: Case, job: str, aws: PlayedAws, storage: Storage) -> tuple[Ledger, str]:
    """Upload the images and the shards, register the job, send the messages; its ledger and its queue."""
    data = jpeg(case.height, case.width)
    etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
    names = [f"{job}/image{i:05d}" for i in range(min(case.shard, case.images))]  # every shard has the same images
    for name in names:
        storage.put(f"inputs/bench/{name}.jpg", data)
    one = [Item(key=f"inputs/bench/{name}.jpg", etag=etag, size=len(data), output=name) for name in names]
    items = [one[i % len(one)] for i in range(case.images)]
    parts = [items[start : start + case.shard] for start in range(0, case.images, case.shard)]
    dynamodb, sqs = aws.client("dynamodb"), aws.client("sqs")
    dynamodb.create_table(
        TableName=job,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    ledger, url = Ledger(dynamodb, job), str(sqs.create_queue(QueueName=job[:80])["QueueUrl"])
    ledger.put_shards(ShardRecord(job=job, number=i, items=len(part)) for i, part in enumerate(parts))
    for i, part in enumerate(parts):
        shard = Shard(job=job, number=i, pipeline="p", project="bench", task="segment", options=OPTIONS, items=part)
        storage.put(shard_key(job, i), shard.to_json().encode())
        sqs.send_message(QueueUrl=url, MessageBody=Message(job=job, number=i, generation=0).to_json())
    return ledger, url


def bare_images_a_second(case: Case, task: Segment) -> float:
    """The engine alone, in a loop over a decoded image."""
    decoded = task.decode(jpeg(case.height, case.width), Source(output="image", file_name="image.jpg"), OPTIONS)
    rounds = max(10, min(200, 2000 // case.sleep_ms))
    begin = time.perf_counter()
    for _ in range(rounds):
        task.run([decoded], OPTIONS)
    return rounds / (time.perf_counter() - begin)


def measure(case: Case, aws: PlayedAws, folder: Path) -> Measured:
    """Run one worker over the whole job, from its first receive to its last commit."""
    Sleeping.sleep_s = case.sleep_ms / 1000
    task = Segment(engines={"sleeping": f"{__name__}:Sleeping"})
    task.load("cpu", OPTIONS)
    bare = bare_images_a_second(case, task)
    job, log, journal = case.name, Log(), Journal(folder / "journal")
    storage = Storage(BUCKET, region=REGION, endpoint=aws.s3)
    ledger, url = prepare(case, job, aws, storage)
    child = ChildSettings(task="", device="cpu", options={}, memory_limit_bytes=0, item_timeout_s=60)
    stream = Stream(task, storage, journal=journal, isolator=Isolator(child, log), log=log, item_timeout_s=60)
    worker = Worker(
        settings=SETTINGS,
        context=WorkerContext(
            task=task,
            stream=stream,
            storage=storage,
            ledger=ledger,
            journal=journal,
            log=log,
            machine="bench",
            pipeline=SETTINGS.pipeline,
        ),
        queue=WorkQueue(
            client=aws.client("sqs"), url=url, visibility_timeout_s=600, max_receives=4, folder=folder / "held"
        ),
    )
    cpu, theirs, began_at = own_cpu_s(), aws.cpu_s(), time.time()
    worker.run()
    cpu, theirs = own_cpu_s() - cpu, aws.cpu_s() - theirs
    stream.close(5.0)
    journal.close()
    totals = ledger.totals(job)
    assert totals.done == case.images, totals
    wall_s = (totals.last_finished_at or 0.0) - began_at
    return Measured(
        efficiency=case.images / wall_s / bare,
        images_a_second=case.images / wall_s,
        cpu_ms=cpu / case.images * 1000,
        aws_cpu_ms=theirs / case.images * 1000,
        stage_ms={name: s / case.images * 1000 for name, s in totals.seconds.items() if name != "wall"},
        peak_mb=stream.budget.peak_bytes / 1e6,
    )


def own_cpu_s() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def show(report: Report, case: Case, measured: Measured, bar: float | None) -> None:
    """What came out of one case."""
    total = sum(measured.stage_ms.values())
    stages = "  ".join(f"{name} {ms:.1f} ms {ms / total:.0%}" for name, ms in measured.stage_ms.items())
    what = f"images/s (E), {case.width}×{case.height}, engine {case.sleep_ms} ms, {case.images} images"
    report.ratio(what, "the engine's bare loop", measured.efficiency, bar=bar)
    print(
        f"    {measured.images_a_second:.1f} images/s, CPU {measured.cpu_ms:.2f} ms an image "
        f"(and {measured.aws_cpu_ms:.2f} ms of what plays AWS), at most {measured.peak_mb:.0f} MB in flight\n"
        f"    {stages}",
        flush=True,
    )


def cases_of(given: argparse.Namespace) -> Iterator[tuple[Case, float | None]]:
    """Each with its bar: those with small images, then those with large ones, which have none."""
    speeds = [int(text) for text in given.engines.split(",")]
    for ms in speeds:
        yield Case(sleep_ms=ms, images=int(IMAGES[ms] * given.scale), height=480, width=640, shard=256), BARS[ms]
    for ms in [] if given.no_large else speeds:
        yield Case(sleep_ms=ms, images=int(LARGE[ms] * given.scale), height=3000, width=4000, shard=64), None


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--latency-ms", type=float, default=30.0, help="added each way to every S3 request")
    parser.add_argument("--engines", default="5,30,300", help="milliseconds an image, separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of images")
    parser.add_argument("--no-large", action="store_true", help="leave the 12-megapixel images out")
    given = parsed(parser, smoke={"latency_ms": 1.0, "engines": "5", "scale": 1 / 64, "no_large": True})
    report = Report(is_smoke=given.smoke)
    os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_EC2_METADATA_DISABLED="true")
    share_interpreter_finely()  # as gpuworker.entries.poll does
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, S3 {given.latency_ms:g} ms each way")
    with played_aws(given.latency_ms) as aws:
        for case, bar in cases_of(given):
            with tempfile.TemporaryDirectory() as folder:
                show(report, case, measure(case, aws, Path(folder)), bar)


if __name__ == "__main__":
    main()
