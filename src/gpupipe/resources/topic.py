"""SNS topic: where SageMaker tells how asynchronous invocations ended. Whoever publishes needs `sns:Publish`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, policy
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of, tag_list, tag_map


@dataclass(frozen=True, kw_only=True)
class Topic(Resource):
    """A standard topic that takes messages by TLS only."""

    kind: ClassVar[str] = "topic"
    phase: ClassVar[Phase] = Phase.DATA

    @property
    def arn(self) -> str:
        return self.stack.arn("sns", self.name)

    def desired(self) -> Fields:
        return {"tags": self.tags, "policy": policy.canonical_statement(self._tls_only)}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads, at once: the tags come by a call of their own."""
        sns = aws.client("sns")
        answer, tagging = together(
            partial(absent_ok, sns.get_topic_attributes, TopicArn=self.arn),
            partial(absent_ok, sns.list_tags_for_resource, ResourceArn=self.arn),
        )
        if answer is None:
            return None
        tags = tag_map((tagging or {}).get("Tags"))
        written = answer["Attributes"].get("Policy")
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={"tags": self.tags_of(tags), "policy": policy.statement(written, policy.TLS_SID)},
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            document = json.dumps(policy.with_statement(None, self._tls_only))
            aws.client("sns").create_topic(Name=self.name, Attributes={"Policy": document}, Tags=tag_list(self.tags))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        sns = aws.client("sns")
        if "policy" in changed:
            written = sns.get_topic_attributes(TopicArn=self.arn)["Attributes"].get("Policy")
            document = json.dumps(policy.with_statement(written, self._tls_only))
            sns.set_topic_attributes(TopicArn=self.arn, AttributeName="Policy", AttributeValue=document)
        if "tags" in changed:
            sns.tag_resource(ResourceArn=self.arn, Tags=tag_list(self.tags))

    def delete(self, aws: Aws) -> None:
        """Its subscriptions go with it."""
        if ours(self, aws) is not None:
            absent_ok(aws.client("sns").delete_topic, TopicArn=self.arn)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for topic, tags in topics_of(aws):
            yield found(topic, tags)

    @property
    def _tls_only(self) -> dict[str, Any]:
        # SNS takes no "sns:*" in a topic's policy; publishing is what can be done from outside.
        return policy.tls_only("sns:Publish", [self.arn])


def topics_of(aws: Aws) -> Iterable[tuple[Topic, dict[str, str]]]:
    """The stack's topics, each with its tags."""
    sns, stack = aws.client("sns"), aws.stack
    arns = [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]]
    mine = [arn for arn in arns if arn.rpartition(":")[2].startswith(f"{stack.id}-")]
    reads = (partial(absent_ok, sns.list_tags_for_resource, ResourceArn=arn) for arn in mine)
    for arn, answer in zip(mine, together(*reads), strict=True):
        tags = tag_map((answer or {}).get("Tags"))
        if is_stacks(tags, stack):
            yield Topic(stack=stack, name=arn.rpartition(":")[2], pipeline=pipeline_of(tags)), tags
