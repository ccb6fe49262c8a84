"""DynamoDB table: on demand, with time to live, point-in-time recovery and protection against deletion by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of, tag_list, tag_map
from gpupipe.resources.waiting import until

SETTLE_S = 300.0
# A table that is being made or changed takes no other change, and one made just now has no backups yet.
BUSY = ("ResourceInUseException", "ContinuousBackupsUnavailableException")


@dataclass(frozen=True, kw_only=True)
class Table(Resource):
    """A table of two text keys."""

    kind: ClassVar[str] = "table"
    phase: ClassVar[Phase] = Phase.DATA
    immutable: ClassVar[frozenset[str]] = frozenset({"hash_key", "range_key"})
    holds_data: ClassVar[bool] = True

    hash_key: str
    range_key: str
    ttl_attribute: str = ""
    """Rows go some time after the Unix time in it; "" keeps them."""
    recovery: bool = True
    """Any second of the last 35 days can be restored."""
    protected: bool = True
    """No deletion by hand; `delete` lifts it, because whoever calls it was asked."""

    @property
    def arn(self) -> str:
        return self.stack.arn("dynamodb", f"table/{self.name}")

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "hash_key": self.hash_key,
            "range_key": self.range_key,
            "on_demand": True,
            "ttl_attribute": self.ttl_attribute,
            "recovery": self.recovery,
            "protected": self.protected,
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Four reads, three of them at once: each setting has a call of its own."""
        dynamodb = aws.client("dynamodb")
        # By itself: of a table that is not there, the tags are "denied", not absent.
        table = self._describe(aws)
        if table is None or table["TableStatus"] == "DELETING":
            return None
        ready = table["TableStatus"] != "CREATING"  # before that there is nothing to ask for
        tagging, ttl, backups = together(
            partial(absent_ok, dynamodb.list_tags_of_resource, ResourceArn=self.arn),
            partial(absent_ok, dynamodb.describe_time_to_live, TableName=self.name) if ready else dict,
            partial(absent_ok, dynamodb.describe_continuous_backups, TableName=self.name) if ready else dict,
        )
        tags = tag_map((tagging or {}).get("Tags"))
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            note="" if table["TableStatus"] == "ACTIVE" else table["TableStatus"].capitalize(),
            fields={
                "tags": self.tags_of(tags),
                **_keys(table),
                "on_demand": table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST",
                "ttl_attribute": _ttl_attribute(ttl or {}),
                "recovery": _recovery(backups or {}),
                "protected": bool(table.get("DeletionProtectionEnabled")),
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        names = {"HASH": self.hash_key, "RANGE": self.range_key}
        aws.retried(
            aws.client("dynamodb").create_table,
            codes=BUSY,
            within_s=SETTLE_S,
            TableName=self.name,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names.values()],
            KeySchema=[{"AttributeName": name, "KeyType": role} for role, name in names.items()],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=self.protected,
            Tags=tag_list(self.tags),
        )
        self._wait_active(aws)
        self._change(aws, frozenset({"ttl_attribute"} if self.ttl_attribute else ()) | {"recovery"})

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        self._wait_active(aws)
        self._change(aws, changed)

    def delete(self, aws: Aws) -> None:
        observed = ours(self, aws)
        dynamodb = aws.client("dynamodb")
        if observed is not None:
            if observed.fields["protected"]:
                self._wait_active(aws)
                self._update_table(aws, DeletionProtectionEnabled=False)
            absent_ok(partial(aws.retried, dynamodb.delete_table, codes=BUSY, within_s=SETTLE_S), TableName=self.name)
        until(
            lambda: self._describe(aws) is None,
            clock=aws.clock,
            what=f"the deletion of table {self.name}",
            within_s=SETTLE_S,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        dynamodb, stack = aws.client("dynamodb"), aws.stack
        pages = dynamodb.get_paginator("list_tables").paginate()
        names = [name for page in pages for name in page["TableNames"] if name.startswith(f"{stack.id}-")]
        arns = (stack.arn("dynamodb", f"table/{name}") for name in names)
        reads = (partial(dynamodb.list_tags_of_resource, ResourceArn=arn) for arn in arns)
        for name, answer in zip(names, together(*reads), strict=True):
            tags = tag_map(answer["Tags"])
            if is_stacks(tags, stack):
                table = cls(stack=stack, name=name, pipeline=pipeline_of(tags), hash_key="", range_key="")
                yield found(table, tags)

    def _describe(self, aws: Aws) -> dict[str, Any] | None:
        answer = absent_ok(aws.client("dynamodb").describe_table, TableName=self.name)
        return answer["Table"] if answer else None

    def _wait_active(self, aws: Aws) -> None:
        until(
            lambda: (self._describe(aws) or {}).get("TableStatus") == "ACTIVE",
            clock=aws.clock,
            what=f"table {self.name}: ACTIVE",
            within_s=SETTLE_S,
        )

    def _update_table(self, aws: Aws, **arguments: Any) -> None:
        update = aws.client("dynamodb").update_table
        aws.retried(update, codes=BUSY, within_s=SETTLE_S, TableName=self.name, **arguments)
        self._wait_active(aws)

    def _change(self, aws: Aws, changed: frozenset[str]) -> None:
        dynamodb = aws.client("dynamodb")
        if "tags" in changed:
            dynamodb.tag_resource(ResourceArn=self.arn, Tags=tag_list(self.tags))
        if "on_demand" in changed:
            self._update_table(aws, BillingMode="PAY_PER_REQUEST")
        if "protected" in changed:
            self._update_table(aws, DeletionProtectionEnabled=self.protected)
        if "ttl_attribute" in changed:
            self._put_ttl(aws)
        if "recovery" in changed:
            recovery = {"PointInTimeRecoveryEnabled": self.recovery}
            aws.retried(
                dynamodb.update_continuous_backups,
                codes=BUSY,
                within_s=SETTLE_S,
                TableName=self.name,
                PointInTimeRecoverySpecification=recovery,
            )

    def _put_ttl(self, aws: Aws) -> None:
        dynamodb = aws.client("dynamodb")
        before = _ttl_attribute(dynamodb.describe_time_to_live(TableName=self.name))
        # Another attribute means off and on; AWS allows one change an hour, so the second may have to wait for it.
        for name, enabled in ((before, False), (self.ttl_attribute, True)):
            if name:
                setting = {"AttributeName": name, "Enabled": enabled}
                dynamodb.update_time_to_live(TableName=self.name, TimeToLiveSpecification=setting)


def _keys(table: Mapping[str, Any]) -> dict[str, str]:
    by_type = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    return {"hash_key": by_type.get("HASH", ""), "range_key": by_type.get("RANGE", "")}


def _ttl_attribute(answer: Mapping[str, Any]) -> str:
    description = answer.get("TimeToLiveDescription", {})
    on = description.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
    return str(description.get("AttributeName", "")) if on else ""


def _recovery(answer: Mapping[str, Any]) -> bool:
    description = answer.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    return bool(description.get("PointInTimeRecoveryStatus") == "ENABLED")
