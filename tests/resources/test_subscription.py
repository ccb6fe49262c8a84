"""Subscription: one function, called by its topic only, and nothing of others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, converge, made
from tests.resources.samples import PIPELINE, Samples

from gpupipe.aws import Aws
from gpupipe.resources.subscription import Subscription


@pytest.fixture
def subscription(stacks: Stacks) -> Subscription:
    return Samples(stacks.mine).subscription()


def endpoints(aws: Aws, subscription: Subscription) -> set[str]:
    answer = aws.client("sns").list_subscriptions_by_topic(TopicArn=subscription.topic.arn)
    return {one["Endpoint"] for one in answer["Subscriptions"]}


def allowed(aws: Aws, function: str) -> list[dict[str, Any]]:
    answer = aws.client("lambda").get_policy(FunctionName=function)
    found: list[dict[str, Any]] = json.loads(answer["Policy"])["Statement"]
    return found


def test_only_its_topic_may_call(aws: Aws, subscription: Subscription) -> None:
    made(aws, subscription)

    (statement,) = allowed(aws, subscription.function.name)
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert subscription.topic.arn in str(statement["Condition"])
    assert subscription.stack.account in str(statement["Condition"])


def test_another_function_takes_the_place_of_the_first(aws: Aws, subscription: Subscription) -> None:
    made(aws, subscription)
    callback = subscription.stack.callback_function(PIPELINE)
    changed = replace(subscription, function=replace(subscription.function, name=callback))
    made(aws, changed.function)

    converge(aws, changed)

    assert endpoints(aws, changed) == {changed.function.arn}
    assert_as_wanted(aws, changed)


def test_what_others_subscribed_stays(aws: Aws, subscription: Subscription) -> None:
    made(aws, subscription)
    theirs = "arn:aws:sqs:us-east-1:123456789012:theirs"
    aws.client("sns").subscribe(TopicArn=subscription.topic.arn, Protocol="sqs", Endpoint=theirs)

    assert len(list(Subscription.find(aws))) == 1
    subscription.delete(aws)

    assert endpoints(aws, subscription) == {theirs}


def test_a_permission_that_is_gone_is_given_again(aws: Aws, subscription: Subscription) -> None:
    made(aws, subscription)
    name = subscription.function.name
    aws.client("lambda").remove_permission(FunctionName=name, StatementId=f"gpupipe-{subscription.topic.name}")

    converge(aws, subscription)

    assert_as_wanted(aws, subscription)
