"""Bucket: private, TLS only, owner enforced, encrypted, versioned, with a lifecycle. Emptied before it is deleted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import DENIED, Aws, absent_ok, error_code, together
from gpupipe.names import TAG_STACK, Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Progress, Resource, policy
from gpupipe.resources.emptying import empty_bucket
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of, tag_list, tag_map
from gpupipe.resources.waiting import until

# S3 refuses two changes of one bucket at once, and for a minute or two a name whose bucket is only just going.
SETTLE_S = 180.0
TAGS_REFUSED = ("UnsupportedArgument", "MalformedXML")
"""Some regions do not take tags with a new bucket; there it is tagged by the call after."""
ANOTHER_ACCOUNT = "another AWS account"
US_EAST_1 = "us-east-1"
"""The region that S3 does not want to be told about."""


@dataclass(frozen=True, kw_only=True)
class LifecycleRule:
    """What S3 deletes by itself below `prefix`; 0 means never."""

    id: str
    prefix: str = ""
    expire_days: int = 0
    old_versions_days: int = 0
    """Days after which a version that was replaced or deleted goes."""
    abort_uploads_days: int = 0
    """Days after which the parts of an upload that was never finished go."""

    def to_api(self) -> dict[str, Any]:
        """The rule as S3 takes it and gives it back."""
        rule: dict[str, Any] = {"ID": self.id, "Status": "Enabled", "Filter": {"Prefix": self.prefix}}
        if self.expire_days:
            rule["Expiration"] = {"Days": self.expire_days}
        if self.old_versions_days:
            rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": self.old_versions_days}
            # Or the delete markers of what expired would be listed for ever; S3 takes it only without `Days`.
            rule.setdefault("Expiration", {"ExpiredObjectDeleteMarker": True})
        if self.abort_uploads_days:
            rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": self.abort_uploads_days}
        return rule


@dataclass(frozen=True, kw_only=True)
class Bucket(Resource):
    """A data bucket. Every call says whose account the bucket must be in, so a name that was lost never leaks data."""

    kind: ClassVar[str] = "bucket"
    phase: ClassVar[Phase] = Phase.DATA
    holds_data: ClassVar[bool] = True

    lifecycle: tuple[LifecycleRule, ...] = ()

    @property
    def arn(self) -> str:
        return f"arn:{self.stack.partition}:s3:::{self.name}"

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "private": True,
            "ownership": "BucketOwnerEnforced",
            "encrypted": True,
            "versioning": "Enabled",
            "policy": policy.canonical_statement(self._tls_only),
            "lifecycle": _ordered(rule.to_api() for rule in self.lifecycle),
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Seven reads, at once: S3 has no call that answers more than one of them."""
        from botocore.exceptions import ClientError

        s3 = aws.client("s3")
        reads = (
            s3.get_bucket_versioning,  # first: it alone fails only where there is no bucket
            s3.get_bucket_tagging,
            s3.get_public_access_block,
            s3.get_bucket_ownership_controls,
            s3.get_bucket_encryption,
            s3.get_bucket_policy,
            s3.get_bucket_lifecycle_configuration,
        )
        try:
            answers = together(*(partial(absent_ok, read, **self._target) for read in reads))
        except ClientError as error:
            if error_code(error) in DENIED and not self._is_in_account(aws):
                return Observed(owner=ANOTHER_ACCOUNT, fields={})
            raise
        versioning, tagging, blocks, ownership, encryption, found_policy, lifecycle = answers
        if versioning is None:
            return None
        tags = tag_map((tagging or {}).get("TagSet"))
        owner = tags.get(TAG_STACK, "")
        if not tags and self._is_empty(aws):
            owner = self.stack.id  # made by a call that was killed before it could tag it
        return Observed(
            owner=owner,
            fields={
                "tags": self.tags_of(tags),
                "private": _is_private(blocks or {}),
                "ownership": _ownership(ownership or {}),
                "encrypted": encryption is not None,
                "versioning": versioning.get("Status", "Off"),
                "policy": policy.statement((found_policy or {}).get("Policy"), policy.TLS_SID),
                "lifecycle": _ordered((lifecycle or {}).get("Rules", [])),
            },
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            self._make(aws)
            self._change(aws, frozenset(self.desired()))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        self._change(aws, changed)

    def empty(self, aws: Aws, progress: Progress) -> None:
        if ours(self, aws) is not None:
            empty_bucket(aws.client("s3"), self.name, self.stack.account, progress)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is None:
            return
        s3 = aws.client("s3")
        absent_ok(partial(aws.propagated, s3.delete_bucket), **self._target)
        until(
            lambda: absent_ok(s3.get_bucket_versioning, **self._target) is None,
            clock=aws.clock,
            what=f"the deletion of bucket {self.name}",
            within_s=60,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for name, tags in stacks_buckets(aws):
            if name != aws.stack.state_bucket:
                yield found(cls(stack=aws.stack, name=name, pipeline=pipeline_of(tags)), tags)

    @property
    def _target(self) -> dict[str, str]:
        return {"Bucket": self.name, "ExpectedBucketOwner": self.stack.account}

    @property
    def _tls_only(self) -> dict[str, Any]:
        return policy.tls_only("s3:*", [self.arn, f"{self.arn}/*"])

    def _make(self, aws: Aws) -> None:
        from botocore.exceptions import ClientError

        location = {} if self.stack.region == US_EAST_1 else {"LocationConstraint": self.stack.region}
        create = partial(aws.propagated, aws.client("s3").create_bucket, within_s=SETTLE_S)
        settings: dict[str, Any] = {"Bucket": self.name, "ObjectOwnership": "BucketOwnerEnforced"}
        try:
            create(**settings, CreateBucketConfiguration={**location, "Tags": tag_list(self.tags)})
        except ClientError as error:
            if error_code(error) not in TAGS_REFUSED:
                raise
            if location:
                settings["CreateBucketConfiguration"] = location
            create(**settings)

    def _change(self, aws: Aws, changed: frozenset[str]) -> None:
        """One setting after the other, as S3 refuses two at once: whose it is, and what keeps strangers out, first."""
        setters = {
            "tags": self._put_tags,
            "private": self._put_private,
            "ownership": self._put_ownership,
            "policy": self._put_policy,
            "encrypted": self._put_encryption,
            "versioning": self._put_versioning,
            "lifecycle": self._put_lifecycle,
        }
        for name, put in setters.items():
            if name in changed:
                put(aws)

    def _is_in_account(self, aws: Aws) -> bool:
        # A bucket of another account and one that the operator may not read are denied in the same words.
        buckets = aws.client("s3").list_buckets(Prefix=self.name)["Buckets"]
        return any(bucket["Name"] == self.name for bucket in buckets)

    def _is_empty(self, aws: Aws) -> bool:
        page = aws.client("s3").list_object_versions(**self._target, MaxKeys=1)
        return not page.get("Versions") and not page.get("DeleteMarkers")

    def _put(self, aws: Aws, operation: str, **arguments: Any) -> None:
        aws.propagated(getattr(aws.client("s3"), operation), within_s=SETTLE_S, **self._target, **arguments)

    def _put_private(self, aws: Aws) -> None:
        self._put(aws, "put_public_access_block", PublicAccessBlockConfiguration=dict.fromkeys(_BLOCKS, True))

    def _put_ownership(self, aws: Aws) -> None:
        rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
        self._put(aws, "put_bucket_ownership_controls", OwnershipControls=rules)

    def _put_policy(self, aws: Aws) -> None:
        existing = (absent_ok(aws.client("s3").get_bucket_policy, **self._target) or {}).get("Policy")
        self._put(aws, "put_bucket_policy", Policy=json.dumps(policy.with_statement(existing, self._tls_only)))

    def _put_encryption(self, aws: Aws) -> None:
        rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        self._put(aws, "put_bucket_encryption", ServerSideEncryptionConfiguration=rules)

    def _put_versioning(self, aws: Aws) -> None:
        self._put(aws, "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})

    def _put_lifecycle(self, aws: Aws) -> None:
        rules = [rule.to_api() for rule in self.lifecycle]
        if rules:
            self._put(aws, "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})
        else:
            self._put(aws, "delete_bucket_lifecycle")

    def _put_tags(self, aws: Aws) -> None:
        # The call replaces all tags, so the person's own are put back with ours.
        existing = tag_map((absent_ok(aws.client("s3").get_bucket_tagging, **self._target) or {}).get("TagSet"))
        kept = {key: value for key, value in existing.items() if not key.startswith("aws:")}  # AWS keeps its own
        self._put(aws, "put_bucket_tagging", Tagging={"TagSet": tag_list({**kept, **self.tags})})


def stacks_buckets(aws: Aws) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Name and tags of each bucket of the stack, the state bucket among them."""
    s3, stack = aws.client("s3"), aws.stack
    pages = s3.get_paginator("list_buckets").paginate(Prefix=f"{stack.id}-", BucketRegion=stack.region)
    names = [bucket["Name"] for page in pages for bucket in page.get("Buckets", [])]
    for name, tags in zip(names, together(*(partial(_tags, s3, name, stack) for name in names)), strict=True):
        if is_stacks(tags, stack):
            yield name, tags


def _tags(s3: Any, name: str, stack: Stack) -> dict[str, str]:
    answer = absent_ok(s3.get_bucket_tagging, Bucket=name, ExpectedBucketOwner=stack.account)
    return tag_map((answer or {}).get("TagSet"))


_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def _is_private(answer: Mapping[str, Any]) -> bool:
    blocks = answer.get("PublicAccessBlockConfiguration", {})
    return all(blocks.get(name) is True for name in _BLOCKS)


def _ownership(answer: Mapping[str, Any]) -> str:
    rules = answer.get("OwnershipControls", {}).get("Rules", [])
    return str(rules[0]["ObjectOwnership"]) if rules else ""


def _ordered(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lifecycle rules by their id, an empty prefix always said the same way."""
    normal = [{**rule, "Filter": rule.get("Filter") or {"Prefix": ""}} for rule in rules]
    return sorted(normal, key=lambda rule: str(rule.get("ID", "")))
