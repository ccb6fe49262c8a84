"""Queue: its name just after a deletion, its failures' queue, and who may send."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import Refusal, answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.queue import Queue
from gpupipe.resources.queue_policy import QueuePolicy


@pytest.fixture
def queue(stacks: Stacks) -> Queue:
    return Samples(stacks.mine).queue()


@pytest.fixture
def policy(stacks: Stacks) -> QueuePolicy:
    return Samples(stacks.mine).queue_policy()


def statements(aws: Aws, queue: Queue) -> dict[str, dict[str, object]]:
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=queue.url(aws), AttributeNames=["Policy"])
    document = json.loads(answer.get("Attributes", {}).get("Policy", "{}"))
    return {statement["Sid"]: statement for statement in document.get("Statement", [])}


def test_its_settings_are_those_of_sqs(aws: Aws, queue: Queue) -> None:
    made(aws, queue)

    sqs = aws.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=queue.url(aws), AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "600"
    assert attributes["MessageRetentionPeriod"] == "1209600"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "20"
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert queue.dead_letter is not None
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": queue.dead_letter.arn,
        "maxReceiveCount": 4,
    }
    assert queue.url(aws) == sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]


def test_a_name_that_sqs_still_blocks_is_tried_again(aws: Aws, queue: Queue) -> None:
    queue = replace(queue, dead_letter=None)

    with refusing(aws, "sqs", "CreateQueue", "AWS.SimpleQueueService.QueueDeletedRecently") as calls:
        queue.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, queue)


def test_deletion_waits_until_sqs_has_forgotten_it(aws: Aws, queue: Queue) -> None:
    made(aws, queue)
    looks: list[str] = []
    accepted: list[str] = []

    def slow(operation: str) -> Refusal | dict[str, object] | None:
        if operation == "DeleteQueue":
            accepted.append(operation)
            return {}
        if operation == "GetQueueAttributes" and accepted:
            looks.append(operation)
            return Refusal("AWS.SimpleQueueService.NonExistentQueue") if len(looks) == 3 else None
        return None

    with answering(aws, "sqs", slow):
        queue.delete(aws)

    assert (len(accepted), len(looks)) == (1, 3)


def test_only_the_bucket_of_this_account_may_send(aws: Aws, policy: QueuePolicy) -> None:
    made(aws, policy)

    allowed = statements(aws, policy.queue)["EventsFromBucket"]
    assert allowed["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allowed["Condition"] == {
        "ArnEquals": {"aws:SourceArn": policy.bucket.arn},
        "StringEquals": {"aws:SourceAccount": policy.stack.account},
    }
    refused = statements(aws, policy.queue)["TlsOnly"]
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_statements_of_others_stay(aws: Aws, policy: QueuePolicy) -> None:
    made(aws, policy.queue)
    theirs = {
        "Sid": "Colleague",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
        "Action": "sqs:SendMessage",
        "Resource": policy.queue.arn,
    }
    document = {"Version": "2012-10-17", "Statement": [*statements(aws, policy.queue).values(), theirs]}
    attributes = {"Policy": json.dumps(document)}
    aws.client("sqs").set_queue_attributes(QueueUrl=policy.queue.url(aws), Attributes=attributes)

    policy.create(aws)
    policy.queue.update(aws, frozenset({"policy"}))
    assert set(statements(aws, policy.queue)) == {"Colleague", "TlsOnly", "EventsFromBucket"}

    policy.delete(aws)
    assert set(statements(aws, policy.queue)) == {"Colleague", "TlsOnly"}
    assert_as_wanted(aws, policy.queue)
