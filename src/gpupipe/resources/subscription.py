"""SNS subscription of a function: the topic's messages call it, and it lets the topic do so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, policy
from gpupipe.resources.function import Function
from gpupipe.resources.ownership import adopted, found, ours
from gpupipe.resources.topic import Topic, topics_of


@dataclass(frozen=True, kw_only=True)
class Subscription(Resource):
    """Topic -> function. SNS gives subscriptions no tags: one is known by its two ends, and bears the topic's name."""

    kind: ClassVar[str] = "subscription"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    topic: Topic
    function: Function

    def requires(self) -> tuple[Resource, ...]:
        return (self.topic, self.function)

    def desired(self) -> Fields:
        return {"subscribed": True, "permitted": True}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads, at once: SNS knows the one end, Lambda the other."""
        arn, statement = together(partial(self._arn, aws), partial(self._statement, aws))
        if not arn and not statement:
            return None
        permitted = self.topic.arn in str(statement) and self.stack.account in str(statement.get("Condition"))
        return Observed(owner=self.stack.id, fields={"subscribed": bool(arn), "permitted": permitted})

    def create(self, aws: Aws) -> None:
        self._check_ends(aws)
        if not adopted(self, aws):
            self._put(aws, frozenset(self.desired()))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        self._check_ends(aws)
        self._put(aws, changed)

    def delete(self, aws: Aws) -> None:
        self._check_ends(aws)
        arn = self._arn(aws)
        if arn:
            absent_ok(aws.client("sns").unsubscribe, SubscriptionArn=arn)
        if self._statement(aws):
            absent_ok(aws.client("lambda").remove_permission, FunctionName=self.function.name, StatementId=self._sid)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for topic, _ in topics_of(aws):
            for one in _subscriptions(aws, topic):
                name = one["Endpoint"].rpartition(":function:")[2].partition(":")[0]
                if one["Protocol"] == "lambda" and name.startswith(f"{aws.stack.id}-"):
                    function = Function.named(aws, name)
                    met = cls(stack=aws.stack, name=topic.name, pipeline=topic.pipeline, topic=topic, function=function)
                    yield found(met, {})

    @property
    def _sid(self) -> str:
        return f"gpupipe-{self.topic.name}"

    def _check_ends(self, aws: Aws) -> None:
        ours(self.topic, aws)
        ours(self.function, aws)

    def _put(self, aws: Aws, changed: frozenset[str]) -> None:
        """The permission first: SNS may call at once."""
        if "permitted" in changed:
            client, function = aws.client("lambda"), self.function.name
            if self._statement(aws):
                absent_ok(client.remove_permission, FunctionName=function, StatementId=self._sid)
            client.add_permission(
                FunctionName=function,
                StatementId=self._sid,
                Action="lambda:InvokeFunction",
                Principal="sns.amazonaws.com",
                SourceArn=self.topic.arn,
                SourceAccount=self.stack.account,
            )
        if "subscribed" in changed:
            aws.client("sns").subscribe(TopicArn=self.topic.arn, Protocol="lambda", Endpoint=self.function.arn)

    def _arn(self, aws: Aws) -> str:
        """The subscription's ARN, "" without one."""
        found = (one for one in _subscriptions(aws, self.topic) if one["Endpoint"] == self.function.arn)
        return next((str(one["SubscriptionArn"]) for one in found), "")

    def _statement(self, aws: Aws) -> dict[str, Any]:
        """What the function's policy lets the topic do; empty where nothing."""
        answer = absent_ok(aws.client("lambda").get_policy, FunctionName=self.function.name)
        return policy.statement((answer or {}).get("Policy"), self._sid)


def _subscriptions(aws: Aws, topic: Topic) -> list[Mapping[str, Any]]:
    pages = aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic.arn)
    read = partial(absent_ok, lambda: [one for page in pages for one in page["Subscriptions"]])
    found: list[Mapping[str, Any]] = read() or []
    return found
