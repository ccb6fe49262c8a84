"""Every kind does what it promises in the local target's emulators too, where answers differ in their details."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Sample, Sampled, Stacks, assert_as_wanted, converge, made
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import NotOursError
from gpupipe.local.emulators import Emulators
from gpupipe.names import Stack

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def local_clients(emulated: Emulators) -> Aws:
    account = emulated.account
    return Aws(
        stack=Stack(name="none", environment="dev", account=account.account_id, region=account.region),
        endpoints=emulated.endpoints,
        credentials={"aws_access_key_id": account.access_key, "aws_secret_access_key": account.secret_key},
    )


@pytest.mark.exhaustive  # what `test_contract.py` holds in this process
class TestOnEmulators(Sampled):
    """The account stays, so every test has stacks of its own, and one test goes through a kind's whole life."""

    @pytest.fixture
    def stacks(self, local_clients: Aws) -> Stacks:
        mine = replace(local_clients.stack, name=f"demo{next(_numbers)}", extra_tags=(("team", "fields"),))
        return Stacks(mine=mine, other=replace(mine, name=mine.id, environment="x", extra_tags=()))

    @pytest.fixture
    def aws(self, local_clients: Aws, stacks: Stacks) -> Iterator[Aws]:
        local_clients.stack = stacks.mine
        yield local_clients
        local_clients.gate = None

    def test_a_whole_life(self, aws: Aws, sample: Sample) -> None:
        resource, changed = sample.resource, sample.changed
        assert resource.observe(aws) is None

        made(aws, sample.of_other)
        made(aws, resource)
        assert_as_wanted(aws, resource)
        resource.create(aws)
        assert_as_wanted(aws, resource)
        (found,) = [one for one in type(resource).find(aws) if one.id == resource.id]
        assert found.key == resource.key
        assert sample.of_other.id not in {one.id for one in type(resource).find(aws)}

        for required in changed.requires():
            made(aws, required)
        converge(aws, changed)
        assert_as_wanted(aws, changed)

        found.resource.delete(aws)
        resource.delete(aws)
        assert resource.observe(aws) is None
        assert resource.id not in {one.id for one in type(resource).find(aws)}
        assert_as_wanted(aws, sample.of_other)

    def test_what_is_anothers_is_never_touched(self, aws: Aws, sample: Sample) -> None:
        made(aws, sample.foreign)

        with pytest.raises(NotOursError, match=sample.foreign.stack.id):
            sample.resource.create(aws)

        assert_as_wanted(aws, sample.foreign)

    def test_versions_markers_and_unfinished_uploads_are_emptied(self, aws: Aws, stacks: Stacks) -> None:
        bucket = Samples(stacks.mine).bucket()
        bucket.create(aws)
        s3 = aws.client("s3")
        for number in range(30):
            s3.put_object(Bucket=bucket.name, Key=f"a b/{number % 20}+ä.jpg", Body=b"x")
        s3.delete_object(Bucket=bucket.name, Key="a b/1+ä.jpg")
        s3.create_multipart_upload(Bucket=bucket.name, Key="big.tif")
        told: list[str] = []

        bucket.empty(aws, told.append)
        bucket.delete(aws)

        assert told[-1] == "31 objects deleted"
        assert bucket.observe(aws) is None

    def test_entries_of_others_and_eventbridge_stay(self, aws: Aws, stacks: Stacks) -> None:
        notification = Samples(stacks.mine).notification()
        made(aws, notification.bucket)
        made(aws, notification.policy)
        s3, bucket = aws.client("s3"), notification.bucket.name
        rule = {"Name": "prefix", "Value": "archive/"}
        theirs: dict[str, Any] = {"Id": "theirs", "QueueArn": notification.queue.arn, "Events": ["s3:ObjectRemoved:*"]}
        theirs["Filter"] = {"Key": {"FilterRules": [rule]}}
        before = {"QueueConfigurations": [theirs], "EventBridgeConfiguration": {}}
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=before)

        notification.create(aws)
        after = s3.get_bucket_notification_configuration(Bucket=bucket)
        ids = {entry["Id"] for entry in after["QueueConfigurations"]}
        assert ids == {"theirs", *(f"gpupipe.{stacks.mine.id}.{rule}" for rule in ("incoming", "manifests"))}
        assert after["EventBridgeConfiguration"] == {}

        notification.delete(aws)
        left = s3.get_bucket_notification_configuration(Bucket=bucket)
        assert {name: value for name, value in left.items() if name != "ResponseMetadata"} == before
