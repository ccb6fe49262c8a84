"""Secrets Manager secret: a name and its tags. Its value is set by a person (`gpupipe.secrets`), never by a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.names import TAG_STACK, Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, identity
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, tag_list, tag_map
from gpupipe.resources.waiting import until

DESCRIPTION = "Set by `gpupipe secrets set`."
SETTLE_S = 60.0
BUSY = ("InvalidRequestException",)
"""Of a name whose secret is still being deleted: for moments, where it was deleted for good."""


@dataclass(frozen=True, kw_only=True)
class Secret(Resource):
    """A secret of the stack, with or without a value; encrypted with the account's own key for secrets."""

    kind: ClassVar[str] = "secret"
    phase: ClassVar[Phase] = Phase.DATA
    holds_data: ClassVar[bool] = True

    @classmethod
    def called(cls, stack: Stack, name: str) -> Secret:
        """The one that people call `name`."""
        return cls(stack=stack, name=stack.secret(name))

    @property
    def short_name(self) -> str:
        """What people call it."""
        return self.name.removeprefix(f"{self.stack.id}/")

    @property
    def key(self) -> str:
        return identity(self.kind, self.short_name)

    @property
    def arn_pattern(self) -> str:
        """Its ARN, for policies: AWS adds six characters that nobody knows before it is made."""
        return self.stack.arn("secretsmanager", f"secret:{self.name}-??????")

    def desired(self) -> Fields:
        return {"tags": self.tags}

    def observe(self, aws: Aws) -> Observed | None:
        """One read, which never brings the value."""
        answer = self.described(aws)
        if answer is None or answer.get("DeletedDate"):
            return None
        tags = tag_map(answer.get("Tags"))
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={"tags": self.tags_of(tags)},
            note="" if has_value(answer) else f"without a value: `gpupipe secrets set {self.short_name}`",
        )

    def create(self, aws: Aws) -> None:
        """Without a value; one that is ours and waits for its deletion is taken back."""
        if adopted(self, aws):
            return
        client, doomed = aws.client("secretsmanager"), self.described(aws)
        if doomed is not None and is_stacks(tag_map(doomed.get("Tags")), self.stack):
            client.restore_secret(SecretId=self.name)
            adopted(self, aws)
            return
        aws.retried(
            client.create_secret,
            codes=BUSY,
            within_s=SETTLE_S,
            Name=self.name,
            Description=DESCRIPTION,
            Tags=tag_list(self.tags),
        )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        aws.client("secretsmanager").tag_resource(SecretId=self.name, Tags=tag_list(self.tags))

    def delete(self, aws: Aws) -> None:
        """At once and for good: whoever calls it was asked, and a secret in its waiting time blocks its name."""
        if ours(self, aws) is None:
            return
        client = aws.client("secretsmanager")
        absent_ok(client.delete_secret, SecretId=self.name, ForceDeleteWithoutRecovery=True)
        until(
            lambda: self.described(aws) is None,
            clock=aws.clock,
            what=f"the deletion of secret {self.name}",
            within_s=SETTLE_S,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for secret, entry in secrets_of(aws):
            yield found(secret, tag_map(entry.get("Tags")))

    def described(self, aws: Aws) -> dict[str, Any] | None:
        """What AWS says of it, values never; None where it is not there."""
        answer: dict[str, Any] | None = absent_ok(aws.client("secretsmanager").describe_secret, SecretId=self.name)
        return answer


def secrets_of(aws: Aws) -> Iterable[tuple[Secret, dict[str, Any]]]:
    """The stack's secrets, each with what AWS lists of it; by name first, as tags alone cannot be searched for."""
    stack, pages = aws.stack, aws.client("secretsmanager").get_paginator("list_secrets")
    prefix = stack.secret("")
    for page in pages.paginate(Filters=[{"Key": "name", "Values": [prefix]}]):
        for entry in page["SecretList"]:
            if not entry["Name"].startswith(prefix):
                continue
            if is_stacks(tag_map(entry.get("Tags")), stack) and not entry.get("DeletedDate"):
                yield Secret(stack=stack, name=entry["Name"]), entry


def has_value(described: dict[str, Any]) -> bool:
    """Has anybody set it? Descriptions name the versions in `VersionIdsToStages`, lists in `SecretVersionsToStages`."""
    versions = described.get("VersionIdsToStages") or described.get("SecretVersionsToStages") or {}
    return any("AWSCURRENT" in stages for stages in versions.values())
