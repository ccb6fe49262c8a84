"""CloudWatch log group with a retention; made before what writes to it, which would make one that is kept for ever."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_STACK, Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of


@dataclass(frozen=True, kw_only=True)
class LogGroup(Resource):
    """A log group; `name` is its whole name (`/aws/lambda/demo-dev-segment-guard`)."""

    kind: ClassVar[str] = "log group"
    phase: ClassVar[Phase] = Phase.LOGS

    retention_days: int = 0
    """0 keeps for ever."""

    @property
    def arn(self) -> str:
        """Without the `:*` that stands for its streams."""
        return self.stack.arn("logs", f"log-group:{self.name}")

    def desired(self) -> Fields:
        return {"tags": self.tags, "retention_days": self.retention_days}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads, at once: the tags come by a call of their own."""
        logs = aws.client("logs")
        # Groups come in the order of their names, so of those with this prefix the one of this name is the first.
        groups, tagging = together(
            partial(logs.describe_log_groups, logGroupNamePrefix=self.name, limit=1),
            partial(absent_ok, logs.list_tags_for_resource, resourceArn=self.arn),
        )
        group = next((one for one in groups["logGroups"] if one["logGroupName"] == self.name), None)
        if group is None:
            return None
        tags = (tagging or {}).get("tags", {})
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={"tags": self.tags_of(tags), "retention_days": group.get("retentionInDays", 0)},
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            aws.client("logs").create_log_group(logGroupName=self.name, tags=self.tags)
            self._put_retention(aws.client("logs"))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        logs = aws.client("logs")
        if "tags" in changed:
            logs.tag_resource(resourceArn=self.arn, tags=self.tags)
        if "retention_days" in changed:
            self._put_retention(logs)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("logs").delete_log_group, logGroupName=self.name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        logs, stack = aws.client("logs"), aws.stack
        pages = logs.get_paginator("describe_log_groups")
        names = [
            group["logGroupName"]
            for prefix in _prefixes(stack)
            for page in pages.paginate(logGroupNamePrefix=prefix)
            for group in page["logGroups"]
        ]
        groups = [cls(stack=stack, name=name) for name in names]
        reads = (partial(absent_ok, logs.list_tags_for_resource, resourceArn=group.arn) for group in groups)
        for name, answer in zip(names, together(*reads), strict=True):
            tags = (answer or {}).get("tags", {})
            if is_stacks(tags, stack):
                yield found(cls(stack=stack, name=name, pipeline=pipeline_of(tags)), tags)

    def _put_retention(self, logs: Any) -> None:
        if self.retention_days:
            logs.put_retention_policy(logGroupName=self.name, retentionInDays=self.retention_days)
        else:
            logs.delete_retention_policy(logGroupName=self.name)


def _prefixes(stack: Stack) -> tuple[str, ...]:
    """Where a stack's log groups are: its own, and those whose names are Lambda's and SageMaker's choice."""
    return (f"/gpupipe/{stack.id}/", stack.function_log_group(f"{stack.id}-"), f"/aws/sagemaker/Endpoints/{stack.id}-")
