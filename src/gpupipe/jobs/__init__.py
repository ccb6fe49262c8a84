"""Jobs, the same for every pipeline kind: submit, watch, retry, cancel, fetch; nothing here prints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gpupipe.aws import Aws, absent_ok, error_code
from gpupipe.config import Config
from gpupipe.errors import AwsError, NotDeployedError, UsageError
from gpupipe.explain import explained
from gpupipe.kinds import registry
from gpupipe.kinds.kind import AnyKind, AnySite, Invocation, Site
from gpupipe.settings import PipelineSettings
from gpupipe.tasks import Place
from gpuworker.contract import OVERTAKEN, OVERTAKEN_OR_GONE
from gpuworker.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class JobsContext:
    """One pipeline of one stack: where its jobs live, and small documents read and written there."""

    aws: Aws
    config: Config
    pipeline: str

    @classmethod
    def of(cls, aws: Aws, config: Config, pipeline: str | None = None) -> JobsContext:
        """The pipeline called so, or the only one. Raises ConfigError."""
        return cls(aws=aws, config=config, pipeline=config.pipeline(pipeline)[0])

    @property
    def settings(self) -> PipelineSettings:
        return self.config.pipelines[self.pipeline]

    @property
    def kind(self) -> AnyKind:
        """What there is to know of pipelines like this one."""
        return registry.of(self.settings)

    @property
    def site(self) -> AnySite:
        return Site(stack=self.aws.stack, pipeline=self.pipeline, settings=self.settings, endpoints=self.aws.endpoints)

    @cached_property
    def invocation(self) -> Invocation:
        """How single requests are answered. Raises UsageError where jobs are all that it takes."""
        found = self.kind.invocation(self.site)
        if found is None:
            raise UsageError(
                f"pipeline {self.pipeline} is of kind {self.settings.kind} and has no endpoint to ask.",
                hint=f"`gpupipe run IMAGE --project NAME --pipeline {self.pipeline}` processes it as a job.",
            )
        return found

    @property
    def place(self) -> Place:
        """As far as it matters to what may be asked of its task."""
        model = self.settings.model
        return Place(pipeline=self.pipeline, weights=model.weights, on_cpu=model.on_cpu)

    @property
    def has_work_queue(self) -> bool:
        """Do shards wait in a queue of ours?"""
        return self.kind.has_work_queue(self.settings)

    @property
    def bucket(self) -> str:
        return self.aws.stack.data_bucket(self.pipeline)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.aws.client("dynamodb"), self.aws.stack.table)

    @contextlib.contextmanager
    def at_ledger(self) -> Iterator[None]:
        """Turn what goes wrong with the ledger inside into AwsError, or NotDeployedError where it is not there."""
        try:
            with explained("use the ledger"):
                yield
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                message = f"the ledger of {self.aws.stack.id} is not there."
                raise NotDeployedError(message, hint="Run `gpupipe up` first.") from error
            raise

    @property
    def event_queue_url(self) -> str:
        return self._queue_url(self.aws.stack.event_queue(self.pipeline))

    @property
    def work_queue_url(self) -> str:
        return self._queue_url(self.aws.stack.work_queue(self.pipeline))

    @property
    def dead_letter_queue_url(self) -> str:
        """Shards that no worker could finish."""
        return self._queue_url(self.aws.stack.dead_letter_queue(self.pipeline))

    @property
    def undelivered_queue_url(self) -> str:
        """Events that dispatch could not handle."""
        return self._queue_url(self.aws.stack.undelivered_queue(self.pipeline))

    def _queue_url(self, name: str) -> str:
        return self.aws.stack.queue_url(name, self.aws.endpoint("sqs"))

    # --- small documents ---

    @property
    def in_bucket(self) -> dict[str, str]:
        """Arguments of every S3 call: the bucket, and only if it is still this account's."""
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.aws.stack.account}

    def read(self, key: str) -> bytes | None:
        """The object's content, or None where it is not there."""
        found = self.read_tagged(key)
        return None if found is None else found[0]

    def read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """The object's content and ETag, for `write_over`; None where it is not there."""
        return self.aws.answered(lambda: self._read(key))

    def _read(self, key: str) -> tuple[bytes, str] | None:
        with explained(f"read {key}"):
            answer = absent_ok(self.aws.client("s3").get_object, **self.in_bucket, Key=key)
            return None if answer is None else (bytes(answer["Body"].read()), str(answer["ETag"]))

    def exists(self, key: str) -> bool:
        with explained(f"look for {key}"):
            return absent_ok(self.aws.client("s3").head_object, **self.in_bucket, Key=key) is not None

    def write(self, key: str, text: str) -> None:
        """Write a JSON document."""
        with explained(f"write {key}"):
            self._put(key, text)

    def write_new(self, key: str, text: str) -> bool:
        """Write a JSON document if there is none of that key; False where there was."""
        return self._put_if(key, text, OVERTAKEN, IfNoneMatch="*")

    def write_over(self, key: str, text: str, etag: str) -> bool:
        """Write a JSON document in the place of the one with this ETag; False where that one is not there any more."""
        return self._put_if(key, text, OVERTAKEN_OR_GONE, IfMatch=etag)

    def _put_if(self, key: str, text: str, refusals: frozenset[str], **condition: str) -> bool:
        from botocore.exceptions import ClientError

        with explained(f"write {key}"):
            try:
                self._put(key, text, **condition)
            except ClientError as error:
                if error_code(error) in refusals:
                    return False
                raise
        return True

    def _put(self, key: str, text: str, **condition: str) -> None:
        place = {**self.in_bucket, "Key": key, "ContentType": "application/json"}
        self.aws.client("s3").put_object(**place, Body=text.encode(), **condition)

    def remove(self, key: str) -> None:
        with explained(f"delete {key}"):
            self.aws.client("s3").delete_object(**self.in_bucket, Key=key)

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Keys below `prefix`, in order."""
        for page in self._pages(prefix, StartAfter=after):
            yield from (found["Key"] for found in page.get("Contents", ()))

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Names one level below `prefix` that something lies under, in order."""
        for page in self._pages(prefix, StartAfter=after, Delimiter="/"):
            yield from (found["Prefix"][len(prefix) : -1] for found in page.get("CommonPrefixes", ()))

    def _pages(self, prefix: str, **how: str) -> Iterator[dict[str, list[dict[str, str]]]]:
        given = {name: value for name, value in how.items() if value}
        with explained(f"list {prefix}"):
            pages = self.aws.client("s3").get_paginator("list_objects_v2")
            yield from pages.paginate(**self.in_bucket, Prefix=prefix, **given)
