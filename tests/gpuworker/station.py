"""A pipeline's surroundings on the emulators, for tests of the worker: bucket, table, queue, and jobs in them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
from tests.gpuworker.fake_task import FakeTask

from gpupipe.local.emulators import Emulators
from gpuworker.contract import (
    Item,
    Manifest,
    Message,
    Shard,
    ShardResult,
    WorkerSettings,
    manifest_key,
    result_key,
    shard_key,
)
from gpuworker.entries.delivery import WorkQueue
from gpuworker.ledger import JobRecord, JobState, Ledger, ShardRecord
from gpuworker.pipeline.budget import ByteBudget
from gpuworker.pipeline.isolation import ChildSettings, Isolator
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.runner import WorkerContext
from gpuworker.pipeline.spool import Spool
from gpuworker.pipeline.stream import Stream
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Task

T = TypeVar("T")
_numbers = itertools.count(1)
PIPELINE, PROJECT = "segment", "field7"
FAKE_TASK = "tests.gpuworker.fake_task:FakeTask"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.2


class Lines:
    """A log sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str, at_s: float) -> None:
        self.lines.append(line)

    def close(self, timeout_s: float) -> None: ...

    def __contains__(self, event: str) -> bool:
        return any(f'"event":"{event}"' in line for line in self.lines)


@dataclass(kw_only=True, eq=False)
class Station:
    """One bucket, table and queue of their own, and the worker's parts in this process."""

    local: Emulators
    folder: Path
    max_receives: int = 3
    visibility_timeout_s: int = 30
    lines: Lines = field(default_factory=Lines)
    _streams: list[Stream] = field(default_factory=list)
    _journals: list[Journal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"worker-test-{next(_numbers)}"
        self.client("s3").create_bucket(Bucket=self.name)
        versioned = {"Status": "Enabled"}
        self.client("s3").put_bucket_versioning(Bucket=self.name, VersioningConfiguration=versioned)
        self.client("dynamodb").create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        self.queue_url: str = self.client("sqs").create_queue(QueueName=self.name)["QueueUrl"]
        self.storage = Storage(self.name, region="us-east-1", session=self.session, endpoint=self._endpoint)
        self.ledger = Ledger(self.client("dynamodb"), self.name)

    # --- clients ---

    @property
    def _endpoint(self) -> str:
        return self.local.endpoints["default"]

    @property
    def session(self) -> Any:
        return _session(self.local.account.access_key, self.local.account.secret_key)

    def client(self, service: str) -> Any:
        return _client(self.session, service, self._endpoint)

    # --- the worker's parts ---

    def journal(self) -> Journal:
        """The machine's journal, as a process that starts finds it."""
        for journal in self._journals:
            journal.close()
        self._journals = [Journal(self.folder / "journal")]
        return self._journals[0]

    def isolator(
        self,
        *,
        item_timeout_s: float = 20.0,
        memory_limit_bytes: int = 1 << 30,
        task: str = FAKE_TASK,
        **options: Any,
    ) -> Isolator:
        settings = ChildSettings(
            task=task,
            device="cpu",
            options=options,
            memory_limit_bytes=memory_limit_bytes,
            item_timeout_s=item_timeout_s,
        )
        return Isolator(settings, self.log)

    @property
    def log(self) -> Log:
        return Log([self.lines])

    def stream(
        self,
        task: Task,
        journal: Journal,
        *,
        storage: Storage | None = None,
        item_timeout_s: float = 20.0,
        item_limit: str = "item_timeout_s",
        budget: ByteBudget | None = None,
        spool: Spool | None = None,
        isolated: str = FAKE_TASK,
    ) -> Stream:
        stream = Stream(
            task,
            storage or self.storage,
            journal=journal,
            isolator=self.isolator(item_timeout_s=item_timeout_s, task=isolated),
            log=self.log,
            item_timeout_s=item_timeout_s,
            item_limit=item_limit,
            budget=budget or ByteBudget(10_000_000),
            spool=spool,
            cores=2,
        )
        self._streams.append(stream)
        return stream

    def context(self, task: Task | None = None, *, machine: str = "i-1", **stream: Any) -> WorkerContext:
        task, journal = task or FakeTask(), self.journal()
        return WorkerContext(
            task=task,
            stream=self.stream(task, journal, **stream),
            storage=self.storage,
            ledger=self.ledger,
            journal=journal,
            log=self.log,
            machine=machine,
            pipeline=PIPELINE,
        )

    def queue(self) -> WorkQueue:
        return WorkQueue(
            client=self.client("sqs"),
            url=self.queue_url,
            visibility_timeout_s=self.visibility_timeout_s,
            max_receives=self.max_receives,
            folder=self.folder / "held",
        )

    def settings(self, **changes: Any) -> WorkerSettings:
        settings: dict[str, Any] = {
            "stack": "test",
            "pipeline": PIPELINE,
            "region": "us-east-1",
            "account": self.local.account.account_id,
            "bucket": self.name,
            "queue_url": self.queue_url,
            "table": self.name,
            "log_group": f"/gpupipe/{self.name}",
            "task": "fake",
            "task_options": {},
            "visibility_timeout_s": self.visibility_timeout_s,
            "max_receives": self.max_receives,
            "item_timeout_s": 20.0,
        }
        return WorkerSettings(**{**settings, **changes})

    def close(self) -> None:
        FakeTask.let_go.set()
        for stream in self._streams:
            stream.close(10.0)
        for journal in self._journals:
            journal.close()
        self.storage.close()
        FakeTask.let_go.clear()

    # --- jobs ---

    def job(
        self,
        contents: Sequence[str | Mapping[str, Any]],
        *,
        shard_items: int = 256,
        send: bool = True,
        generation: int = 0,
        job: str = "",
        **options: Any,
    ) -> list[Shard]:
        """Upload one input for each text, and register and queue the job that has them all; a mapping is a value."""
        job = job or f"20261121-113052-{PROJECT}-{next(_numbers):04x}"
        items = [self.item(f"{i:03d}", content) for i, content in enumerate(contents)]
        parts = [items[start : start + shard_items] for start in range(0, len(items), shard_items)]
        shards = [
            Shard(
                job=job,
                pipeline=PIPELINE,
                project=PROJECT,
                number=number,
                generation=generation,
                task="fake",
                options=options,
                items=part,
            )
            for number, part in enumerate(parts)
        ]
        self._register(shards)
        for shard in shards:
            self.storage.put(shard_key(job, shard.number, generation), shard.to_json().encode())
            if send:
                self.send(shard)
        manifest = Manifest(
            job=job, pipeline=PIPELINE, project=PROJECT, shards={str(one.number): len(one.items) for one in shards}
        )
        self.storage.put(manifest_key(job, generation), manifest.to_json().encode())
        return shards

    def _register(self, shards: Sequence[Shard]) -> None:
        now, job = time.time(), shards[0].job
        self.ledger.put_shards(
            ShardRecord(job=job, number=shard.number, generation=shard.generation, items=len(shard.items), sent_at=now)
            for shard in shards
        )
        self.ledger.put_job(
            JobRecord(
                job=job,
                pipeline=PIPELINE,
                project=PROJECT,
                task="fake",
                kind="submitted",
                state=JobState.PENDING,
                created_at=now,
                items=sum(len(shard.items) for shard in shards),
                shards=len(shards),
            )
        )

    def item(self, name: str, content: str | Mapping[str, Any]) -> Item:
        if isinstance(content, str):
            return self.upload(f"{name}.txt", content)
        return Item.inline(project=PROJECT, name=name, value=content)

    def upload(self, path: str, text: str) -> Item:
        key, data = f"inputs/{PROJECT}/{path}", text.encode()
        version = self.storage.put(key, data, "text/plain").version_id
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Item(key=key, etag=etag, size=len(data), output=path.removesuffix(".txt"), version_id=version)

    def send(self, shard: Shard) -> None:
        message = Message(job=shard.job, number=shard.number, generation=shard.generation)
        self.client("sqs").send_message(QueueUrl=self.queue_url, MessageBody=message.to_json())

    # --- looking ---

    def commit(self, shard: Shard) -> ShardResult | None:
        """The shard's commit, if there is one."""
        found = self.storage.read(result_key(shard.job, shard.number, shard.generation))
        return ShardResult.from_gzip(found.data) if found else None

    def row(self, shard: Shard) -> ShardRecord:
        row = self.ledger.shard(shard.job, shard.number)
        assert row is not None
        return row

    def messages(self) -> Mapping[str, int]:
        """How many messages are to be had and how many are held."""
        names = {"waiting": "ApproximateNumberOfMessages", "held": "ApproximateNumberOfMessagesNotVisible"}
        got = self.client("sqs").get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=list(names.values()))
        return {ours: int(got["Attributes"][theirs]) for ours, theirs in names.items()}


@functools.cache
def _session(access_key: str, secret_key: str) -> Any:
    return boto3.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name="us-east-1")


@functools.cache
def _client(session: Any, service: str, endpoint: str) -> Any:
    return session.client(service, endpoint_url=endpoint)


def until(look: Callable[[], T], *, within_s: float = 60.0) -> T:
    """The first true answer of `look`; fails if there is none in time.

    Looks come less often as time goes by: most ask an emulator, which takes the processor from what is waited for.
    """
    deadline, pause_s = time.monotonic() + within_s, FIRST_PAUSE_S
    while not (answer := look()):
        assert time.monotonic() < deadline, f"did not happen within {within_s:g} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LONGEST_PAUSE_S)
    return answer
