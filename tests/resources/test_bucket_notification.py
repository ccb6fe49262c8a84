"""Bucket notification: our entries among others', and a queue that S3 does not know yet."""

from __future__ import annotations

from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.bucket_notification import BucketNotification


@pytest.fixture
def notification(stacks: Stacks) -> BucketNotification:
    return Samples(stacks.mine).notification()


def test_filters_are_the_same_however_s3_writes_them(aws: Aws, notification: BucketNotification) -> None:
    made(aws, notification)
    read = aws.client("s3").get_bucket_notification_configuration(Bucket=notification.bucket.name)
    entries = list(reversed(read["QueueConfigurations"]))
    for entry in entries:
        for rule in entry["Filter"]["Key"]["FilterRules"]:
            rule["Name"] = rule["Name"].capitalize()

    def as_s3_writes(operation: str) -> dict[str, Any] | None:
        return {"QueueConfigurations": entries} if operation == "GetBucketNotificationConfiguration" else None

    with answering(aws, "s3", as_s3_writes):
        assert_as_wanted(aws, notification)


def test_a_queue_whose_policy_s3_has_not_seen_yet_is_tried_again(aws: Aws, notification: BucketNotification) -> None:
    for required in notification.requires():
        made(aws, required)
    unknown = "Unable to validate the following destination configurations"

    with refusing(aws, "s3", "PutBucketNotificationConfiguration", "InvalidArgument", unknown, times=2) as calls:
        notification.create(aws)

    assert len(calls) == 3
    assert_as_wanted(aws, notification)
