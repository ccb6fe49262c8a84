"""A pipeline's bucket and ledger in the emulators, with jobs as dispatch and workers would have left them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gpupipe.aws import Aws
from gpupipe.local.emulators import Emulators
from gpupipe.names import Stack
from gpuworker.contract import (
    Artifact,
    Failure,
    Item,
    ItemResult,
    JobKind,
    JobSpec,
    Shard,
    ShardResult,
    choose_outputs,
    input_key,
    job_key,
    output_prefix,
    result_key,
    shard_key,
)
from gpuworker.ledger import Intake, JobRecord, JobState, Ledger, ShardRecord

NOW = 1_795_000_000.0
PIPELINE = "segment"
CATEGORIES = ("tree", "car")


def a_fragment(file_name: str, *, scores: Sequence[float] = (0.9,), category: int = 1) -> dict[str, Any]:
    """What an image with one annotation a score adds to a COCO file."""
    shape = {"segmentation": [[0, 0, 4, 0, 4, 4]], "area": 8.0, "bbox": [0, 0, 4, 4], "iscrowd": 0}
    annotations = [
        {"id": number, "image_id": 1, "category_id": category, "score": score, **shape}
        for number, score in enumerate(scores, 1)
    ]
    return {"image": {"id": 1, "file_name": file_name, "width": 40, "height": 30}, "annotations": annotations}


def a_header(categories: Sequence[str] = CATEGORIES) -> dict[str, Any]:
    return {
        "info": {"description": "test", "version": "1"},
        "licenses": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }


@dataclass(kw_only=True)
class Work:
    """One stack with a bucket and a ledger of its own."""

    aws: Aws
    ledger: Ledger
    specs: dict[str, JobSpec] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        return self.aws.stack.data_bucket(PIPELINE)

    @property
    def s3(self) -> Any:
        return self.aws.client("s3")

    def put(self, key: str, data: bytes) -> Artifact:
        """Write an object, as an artefact."""
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        digest = hashlib.sha256(data).hexdigest()
        return Artifact(key=key, size=len(data), sha256=digest, version_id=answer.get("VersionId", ""))

    def submit(
        self,
        job: str,
        *shards: Sequence[str],
        project: str = "field7",
        kind: JobKind = "submitted",
        at: float = NOW,
        **options: Any,
    ) -> None:
        """A job with these paths in its shards, none of them processed."""
        spec = JobSpec(
            job=job, pipeline=PIPELINE, project=project, task="segment", options=options, kind=kind, created_at=at
        )
        self.specs[job] = spec
        self.put(job_key(job), spec.to_json().encode())
        for number, paths in enumerate(shards):
            self._put_shard(job, number, 0, paths)
        self.ledger.open_job(
            JobRecord(
                job=job,
                pipeline=PIPELINE,
                project=project,
                task="segment",
                kind=kind,
                state=JobState.PENDING,
                created_at=at,
                items=sum(map(len, shards)),
                shards=len(shards),
                intake=Intake.SEALED,
            ),
            [ShardRecord(job=job, number=n, items=len(paths), created_at=at) for n, paths in enumerate(shards)],
        )

    def _put_shard(self, job: str, number: int, generation: int, paths: Sequence[str]) -> None:
        spec = self.specs[job]
        items = [
            Item(key=input_key(spec.project, path), etag=f"etag-{path}", size=1, output=output)
            for path, output in zip(paths, choose_outputs(paths), strict=True)
        ]
        shard = Shard(
            job=job,
            pipeline=PIPELINE,
            project=spec.project,
            number=number,
            generation=generation,
            task=spec.task,
            options={},
            items=items,
        )
        self.put(shard_key(job, number, generation), shard.to_json().encode())

    def retry(self, job: str, number: int, generation: int, paths: Sequence[str]) -> None:
        """Send these items of a shard again."""
        self._put_shard(job, number, generation, paths)
        row = ShardRecord(job=job, number=number, generation=generation, items=len(paths), created_at=NOW)
        self.ledger.reopen_job(job, generation, [row])

    def commit(
        self,
        job: str,
        number: int,
        done: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
        failed: Mapping[str, str] | None = None,
        *,
        generation: int = 0,
        files: Mapping[str, bytes] | Callable[[str], Mapping[str, bytes]] | None = None,
        header: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] = MappingProxyType({"name": "testing", "version": "1"}),
        at: float = NOW,
        **changes: Any,
    ) -> ShardResult:
        """A worker's commit: `done` paths (with their fragments, or a plain one), `failed` paths with their codes.

        `files`: those of every item, or what gives them by an item's path.
        """
        project = self.specs[job].project
        fragments = dict(done) if isinstance(done, Mapping) else {path: a_fragment(path) for path in done}
        outputs = dict(zip(fragments, choose_outputs(list(fragments)), strict=True))
        items = []
        for path, fragment in fragments.items():
            prefix = output_prefix(project, job, outputs[path])
            more = files(path) if callable(files) else files or {}
            content = {"annotations.json": json.dumps([job, generation, path]).encode(), **more}
            items.append(
                ItemResult(
                    output=outputs[path],
                    key=input_key(project, path),
                    etag=f"etag-{path}",
                    artifacts={name: self.put(prefix + name, data) for name, data in content.items()},
                    fragment=fragment,
                    **changes,
                )
            )
        failures = [
            Failure(
                output=choose_outputs([path])[0],
                key=input_key(project, path),
                etag=f"etag-{path}",
                code=code,
                message=f"it was {code}",
            )
            for path, code in (failed or {}).items()
        ]
        result = ShardResult(
            job=job,
            number=number,
            generation=generation,
            machine=f"i-{number % 2}",
            engine=dict(engine),
            header=a_header() if header is None else header,
            started_at=at - 10,
            finished_at=at,
            items=items,
            failures=failures,
            timings={"infer": 2.0, "decode": 1.0, "wall": 10.0},
        )
        self.write(result)
        return result

    def write(self, result: ShardResult) -> None:
        """Make a commit visible and count it."""
        self.put(result_key(result.job, result.number, result.generation), result.to_gzip())
        self.ledger.count_result(result)
        self.ledger.finish_if_complete(result.job)


def some_work(clients: Aws, name: str) -> Work:
    """An empty stack of that name; it shares the clients, which take longer to make than to use."""
    aws = replace(clients, stack=replace(clients.stack, name=name))
    bucket = aws.stack.data_bucket(PIPELINE)
    aws.client("s3").create_bucket(Bucket=bucket)
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    aws.client("dynamodb").create_table(
        TableName=aws.stack.table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return Work(aws=aws, ledger=Ledger(aws.client("dynamodb"), aws.stack.table, lambda: NOW))


def clients_of(emulated: Emulators) -> Aws:
    """Clients for all stacks in the emulators."""
    own = emulated.account
    stack = Stack(name="any", environment="dev", account=own.account_id, region=own.region)
    keys = {"aws_access_key_id": own.access_key, "aws_secret_access_key": own.secret_key}
    aws = Aws(stack=stack, endpoints=emulated.endpoints, credentials=keys)
    for service in ("s3", "dynamodb"):  # made now, they and their session go along into every copy
        aws.client(service)
    return aws
