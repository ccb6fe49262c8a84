"""A ledger in an emulated table, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.committed import a_result

from gpuworker.ledger import JobRecord, JobState, Ledger, MachineRecord, ShardRecord

NOW = 1_795_000_000.0
TABLE = "demo-dev-ledger"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )


@pytest.fixture
def ledger(dynamodb: Any, clock: Clock) -> Iterator[Ledger]:
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    yield Ledger(dynamodb, TABLE, clock)
    dynamodb.delete_table(TableName=TABLE)


def a_job(job: str = "j1", **changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "job": job,
        "pipeline": "segment",
        "project": "field7",
        "task": "segment",
        "kind": "submitted",
        "state": JobState.PENDING,
        "created_at": NOW,
        "items": 20,
        "shards": 2,
    }
    return JobRecord(**{**fields, **changes})


def some_shards(count: int = 2, job: str = "j1", **changes: Any) -> list[ShardRecord]:
    return [ShardRecord(job=job, number=n, items=10, created_at=NOW, **changes) for n in range(count)]


def commit(ledger: Ledger, number: int, generation: int = 0, **changes: Any) -> bool:
    fields: dict[str, Any] = {"done": 10, "failed": 0, "counts": {"annotations": 30}, "seconds": {"infer": 2.5}}
    return ledger.count_result(a_result("j1", number, generation, **{**fields, **changes}))


def a_machine(**changes: Any) -> MachineRecord:
    fields: dict[str, Any] = {
        "machine": "i-1",
        "pipeline": "segment",
        "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a",
        "market": "on-demand",
        "launched_at": NOW,
        "run_started_at": NOW,
        "price_usd_per_hour": 0.526,
    }
    return MachineRecord(**{**fields, **changes})
