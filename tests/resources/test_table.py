"""Table: protected from hands, deleted on purpose; settings that AWS takes only later."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.contract import Stacks, assert_as_wanted
from tests.resources.refusing import answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.table import Table


@pytest.fixture
def table(stacks: Stacks) -> Table:
    return Samples(stacks.mine).table()


def test_it_is_on_demand_recoverable_and_protected(aws: Aws, table: Table) -> None:
    table.create(aws)

    dynamodb = aws.client("dynamodb")
    seen = dynamodb.describe_table(TableName=table.name)["Table"]
    assert seen["TableArn"] == table.arn
    assert seen["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert seen["DeletionProtectionEnabled"]
    ttl = dynamodb.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires_at")


def test_backups_that_are_not_ready_yet_are_tried_again(aws: Aws, table: Table) -> None:
    with refusing(aws, "dynamodb", "UpdateContinuousBackups", "ContinuousBackupsUnavailableException") as calls:
        table.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, table)


def test_a_table_in_the_making_is_not_asked_what_it_cannot_answer(aws: Aws, table: Table) -> None:
    table.create(aws)
    creating = aws.client("dynamodb").describe_table(TableName=table.name)["Table"] | {"TableStatus": "CREATING"}
    asked: list[str] = []

    def in_the_making(operation: str) -> dict[str, object] | None:
        asked.append(operation)
        return {"Table": creating} if operation == "DescribeTable" else None

    with answering(aws, "dynamodb", in_the_making):
        observed = table.observe(aws)

    assert observed is not None
    assert observed.note == "Creating"
    assert "DescribeContinuousBackups" not in asked


def test_another_expiry_attribute_replaces_the_old_one(aws: Aws, table: Table) -> None:
    table.create(aws)
    changed = replace(table, ttl_attribute="gone_at")

    changed.update(aws, frozenset({"ttl_attribute"}))

    assert_as_wanted(aws, changed)


def test_keys_cannot_change_in_place() -> None:
    assert Table.immutable == {"hash_key", "range_key"}
    assert Table.holds_data
