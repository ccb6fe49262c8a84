"""Bucket notification: which of a bucket's events go to a queue. Entries of others in the same bucket stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.ownership import ours
from gpupipe.resources.queue import Queue
from gpupipe.resources.queue_policy import QueuePolicy

QUEUES = "QueueConfigurations"
Configuration = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NotificationRule:
    """Events of objects whose key begins with `prefix` and ends with `suffix`."""

    id: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, kw_only=True)
class BucketNotification(Resource):
    """Our entries of a bucket's one notification configuration, known by their id. Its `name` is the bucket's.

    S3 replaces the whole configuration at once, so it is read, merged and put back.
    """

    kind: ClassVar[str] = "bucket notification"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    bucket: Bucket
    queue: Queue
    policy: QueuePolicy
    """Must be there first: S3 sends a test message and refuses a queue that does not take it."""
    rules: tuple[NotificationRule, ...]

    def requires(self) -> tuple[Resource, ...]:
        return (self.bucket, self.queue, self.policy)

    def desired(self) -> Fields:
        return {"rules": _readable(map(self._entry, self.rules))}

    def observe(self, aws: Aws) -> Observed | None:
        mine = [entry for entry in self._read(aws).get(QUEUES, []) if self._is_mine(entry)]
        return Observed(owner=self.stack.id, fields={"rules": _readable(mine)}) if mine else None

    def create(self, aws: Aws) -> None:
        ours(self.bucket, aws)
        self._put(aws, [self._entry(rule) for rule in self.rules])

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        self.create(aws)

    def delete(self, aws: Aws) -> None:
        if self.observe(aws) is not None:
            ours(self.bucket, aws)
            self._put(aws, [])

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for one in Bucket.find(aws):
            stack, pipeline = aws.stack, one.resource.pipeline
            bucket, queue = Bucket(stack=stack, name=one.name, pipeline=pipeline), Queue(stack=stack, name="")
            policy = QueuePolicy(stack=stack, name="", queue=queue, bucket=bucket)
            part = cls(
                stack=stack, name=one.name, pipeline=pipeline, bucket=bucket, queue=queue, policy=policy, rules=()
            )
            if part.observe(aws) is not None:
                yield Found(kind=cls.kind, key=part.key, name=part.aws_name, resource=part)

    @property
    def _id_prefix(self) -> str:
        return f"gpupipe.{self.stack.id}."

    def _is_mine(self, entry: Mapping[str, Any]) -> bool:
        return str(entry.get("Id", "")).startswith(self._id_prefix)

    def _entry(self, rule: NotificationRule) -> dict[str, Any]:
        filters = [{"Name": name, "Value": value} for name in ("prefix", "suffix") if (value := getattr(rule, name))]
        return {
            "Id": f"{self._id_prefix}{rule.id}",
            "QueueArn": self.queue.arn,
            "Events": list(rule.events),
            "Filter": {"Key": {"FilterRules": filters}},
        }

    def _read(self, aws: Aws) -> Configuration:
        read = aws.client("s3").get_bucket_notification_configuration
        answer = absent_ok(read, Bucket=self.bucket.name, ExpectedBucketOwner=self.stack.account) or {}
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def _put(self, aws: Aws, entries: list[dict[str, Any]]) -> None:
        configuration = self._read(aws)
        others = [entry for entry in configuration.get(QUEUES, []) if not self._is_mine(entry)]
        aws.propagated(
            aws.client("s3").put_bucket_notification_configuration,
            Bucket=self.bucket.name,
            ExpectedBucketOwner=self.stack.account,
            NotificationConfiguration={**configuration, QUEUES: [*others, *entries]},
        )


def _readable(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries in one form: S3 gives filter names back capitalised, and lists in any order."""
    return sorted((_rule(entry) for entry in entries), key=lambda rule: str(rule["id"]))


def _rule(entry: Mapping[str, Any]) -> dict[str, Any]:
    filters = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    found = {rule["Name"].lower(): rule["Value"] for rule in filters}
    return {
        "id": entry["Id"],
        "events": sorted(entry["Events"]),
        "prefix": found.get("prefix", ""),
        "suffix": found.get("suffix", ""),
        "queue": entry["QueueArn"],
    }
