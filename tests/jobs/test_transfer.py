"""The data plane's store: where it is sent, for AWS itself as for an emulated account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from gpupipe.aws import Aws
from gpupipe.jobs.transfer import open_store
from gpupipe.names import Stack

ACCOUNT = "123456789012"


@pytest.fixture
def aws() -> Iterator[Aws]:
    """An account at AWS's own addresses, played in this process."""
    with mock_aws():
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        session.client("s3").create_bucket(Bucket="photographs")
        stack = Stack(name="demo", environment="dev", account=ACCOUNT, region="us-east-1", partition="aws")
        yield Aws(stack=stack, session=session)


def test_on_aws_the_store_finds_its_own_address(aws: Aws) -> None:
    store = open_store(aws, "photographs").s3
    assert "endpoint" not in store.config
    assert store.config["virtual_hosted_style_request"] in (True, "true")


def test_in_another_partition_it_is_told_the_address(aws: Aws) -> None:
    # obstore knows amazonaws.com only
    aws.stack = replace(aws.stack, partition="aws-cn")
    assert open_store(aws, "photographs").s3.config["endpoint"].startswith("https://s3")
