"""Topic: TLS only, and the statements of others stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.topic import Topic


@pytest.fixture
def topic(stacks: Stacks) -> Topic:
    return Samples(stacks.mine).topic()


def statements(aws: Aws, topic: Topic) -> dict[str, dict[str, Any]]:
    written = aws.client("sns").get_topic_attributes(TopicArn=topic.arn)["Attributes"]["Policy"]
    return {one["Sid"]: one for one in json.loads(written)["Statement"]}


def test_messages_come_encrypted_or_not_at_all(aws: Aws, topic: Topic) -> None:
    topic.create(aws)

    refused = statements(aws, topic)["TlsOnly"]
    assert (refused["Effect"], refused["Action"]) == ("Deny", "sns:Publish")
    assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_statements_of_others_stay(aws: Aws, topic: Topic) -> None:
    topic.create(aws)
    theirs = {"Sid": "Colleague", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sns:Subscribe"}
    document = {"Version": "2012-10-17", "Statement": [{**theirs, "Resource": topic.arn}]}
    aws.client("sns").set_topic_attributes(
        TopicArn=topic.arn, AttributeName="Policy", AttributeValue=json.dumps(document)
    )

    topic.create(aws)

    assert set(statements(aws, topic)) == {"Colleague", "TlsOnly"}
    assert_as_wanted(aws, topic)
