"""The reader that convergence is judged by sees what was changed, made and left behind beside gpupipe."""

from __future__ import annotations

from typing import Any

from tests.account import Account
from tests.convergence.contents import contents, differences

from gpupipe.config import Config
from gpupipe.provision import down, up


def config(account: Account) -> Config:
    tables: dict[str, Any] = {
        "stack": {"name": account.aws.stack.name, "environment": "test"},
        "pipelines": {"segment": {"kind": "queue", "task": "segment"}},
    }
    return Config(**tables)


def test_what_was_changed_by_hand_is_seen_and_what_was_left_as_well(account: Account) -> None:
    # given a stack that is up
    aws, wanted = account.aws, config(account)
    up(wanted, aws)
    before = contents(aws)
    assert differences(before, contents(aws)) == []
    # when somebody changes a queue and a bucket, and makes a topic of the stack's name
    queue, bucket = aws.stack.work_queue("segment"), aws.stack.data_bucket("segment")
    url = aws.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "7"})
    aws.client("s3").delete_public_access_block(Bucket=bucket)
    topic = aws.client("sns").create_topic(Name=f"{aws.stack.id}-by-hand")["TopicArn"]
    # then each is a difference, and nothing else is
    found = differences(before, contents(aws))
    assert len(found) == 3
    assert [name in line for name, line in zip((bucket, topic, queue), found, strict=True)] == [True] * 3
    # and what `down` does not know of is what is left
    down(wanted, aws)
    assert [name for name in contents(aws) if topic not in name] == []
    aws.client("sns").delete_topic(TopicArn=topic)
    assert contents(aws) == {}
