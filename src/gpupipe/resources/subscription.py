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
        return {"function": self.function.name, "permitted": True}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads, at once: SNS knows the one end, Lambda the other."""
        called, statement = together(partial(self._called, aws), partial(self._statement, aws))
        if not called and not statement:
            return None
        permitted = self.topic.arn in str(statement) and self.stack.account in str(statement.get("Condition"))
        return Observed(owner=self.stack.id, fields={"function": ", ".join(sorted(called)), "permitted": permitted})

    def create(self, aws: Aws) -> None:
        self._check_ends(aws)
        if not adopted(self, aws):
            self._put(aws, frozenset(self.desired()))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        self._check_ends(aws)
        self._put(aws, changed)

    def delete(self, aws: Aws) -> None:
        self._check_ends(aws)
        for arn in self._called(aws).values():
            absent_ok(aws.client("sns").unsubscribe, SubscriptionArn=arn)
        self._forbid(aws, self.function.name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for topic, _ in topics_of(aws):
            for name in map(_function_name, _subscriptions(aws, topic)):
                if name.startswith(f"{aws.stack.id}-"):
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
        """The permission first: SNS may call at once. Then the new subscription, and last the end of others."""
        sns, function = aws.client("sns"), self.function
        if "permitted" in changed:
            self._forbid(aws, function.name)
            aws.client("lambda").add_permission(
                FunctionName=function.name,
                StatementId=self._sid,
                Action="lambda:InvokeFunction",
                Principal="sns.amazonaws.com",
                SourceArn=self.topic.arn,
                SourceAccount=self.stack.account,
            )
        if "function" in changed:
            sns.subscribe(TopicArn=self.topic.arn, Protocol="lambda", Endpoint=function.arn)
            for name, arn in self._called(aws).items():
                if name != function.name:
                    absent_ok(sns.unsubscribe, SubscriptionArn=arn)
                    self._forbid(aws, name)

    def _forbid(self, aws: Aws, function: str) -> None:
        absent_ok(aws.client("lambda").remove_permission, FunctionName=function, StatementId=self._sid)

    def _called(self, aws: Aws) -> dict[str, str]:
        """The stack's functions that the topic calls, each with the ARN of its subscription."""
        names = {_function_name(one): str(one["SubscriptionArn"]) for one in _subscriptions(aws, self.topic)}
        mine = (self.function.name, f"{self.stack.id}-")
        return {name: arn for name, arn in names.items() if name and name.startswith(mine)}

    def _statement(self, aws: Aws) -> dict[str, Any]:
        """What the function's policy lets the topic do; empty where nothing."""
        answer = absent_ok(aws.client("lambda").get_policy, FunctionName=self.function.name)
        return policy.statement((answer or {}).get("Policy"), self._sid)


def _function_name(subscription: Mapping[str, Any]) -> str:
    """The function at its other end; "" where that is no function."""
    return str(subscription["Endpoint"]).partition(":function:")[2].partition(":")[0]


def _subscriptions(aws: Aws, topic: Topic) -> list[Mapping[str, Any]]:
    pages = aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic.arn)
    read = partial(absent_ok, lambda: [one for page in pages for one in page["Subscriptions"]])
    found: list[Mapping[str, Any]] = read() or []
    return found
