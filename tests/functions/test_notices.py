"""SageMaker's words for failed requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import BUCKET, NOW

from gpupipe.kinds.endpoint.backend.notices import REASON_MAX, Notice, ShardFailed, Unrelated, brief, code_in, notice_of


def read(told: Any, **sns: Any) -> Notice:
    message = told if isinstance(told, str) else json.dumps(told)
    record = {"Sns": {"MessageId": "n1", "Message": message, **sns}}
    return notice_of(record, bucket=BUCKET, now=NOW)


def about(location: str, **changes: Any) -> dict[str, Any]:
    parameters = {"endpointName": "e", "inputLocation": location}
    return {"invocationStatus": "Failed", "failureReason": "it broke", "requestParameters": parameters, **changes}


def test_a_failed_shard() -> None:
    notice = read(about(f"s3://{BUCKET}/jobs/j1/shards/00007.2.json"), Timestamp="2026-11-18T09:06:40.500Z")
    assert isinstance(notice, ShardFailed)
    assert (notice.job, notice.number, notice.generation) == ("j1", 7, 2)
    assert (notice.at, notice.code, notice.reason, notice.expired) == (1_794_992_800.5, "", "it broke", False)


@pytest.mark.parametrize(
    "told",
    [
        "no JSON",
        "[]",
        {},
        about(f"s3://{BUCKET}/requests/1/a.png"),
        about("s3://other-bucket/jobs/j1/shards/00007.json"),
        about(f"s3://{BUCKET}/jobs/j1/shards/00007.json", invocationStatus="Completed"),
        about(f"s3://{BUCKET}/jobs/j1/shards/00007.json", requestParameters=None),
    ],
)
def test_what_is_not_about_a_shard_of_ours_is_left(told: Any) -> None:
    assert isinstance(read(told), Unrelated)


@pytest.mark.parametrize(
    ("status", "reason", "expired"),
    [
        ("Expired", "", True),
        ("Failed", "The request expired in the queue", True),
        ("Failed", 'from primary with message "{"error": {"code": "failed", "message": "ExpiredToken"}}"', False),
    ],
)
def test_what_expired(status: str, reason: str, expired: bool) -> None:
    told = about(f"s3://{BUCKET}/jobs/j1/shards/00007.json", invocationStatus=status, failureReason=reason)
    notice = read(told, Timestamp="soon")
    assert isinstance(notice, ShardFailed)
    assert (notice.expired, notice.at) == (expired, NOW)
    assert notice.reason


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (
            'error (503) from primary with message "{"error": {"code": "time_is_up", "message": "x"}}". See',
            "time_is_up",
        ),
        (r'with message "{\"error\":{\"code\":\"draining\"}}"', "draining"),
        ("the container closed the connection", ""),
        ('"code": 7', ""),
    ],
)
def test_the_containers_code_is_found_in_the_sentence_around_it(reason: str, code: str) -> None:
    assert code_in(reason) == code


@given(st.text(max_size=2 * REASON_MAX))
def test_a_reason_is_one_line_that_fits(text: str) -> None:
    assert len(brief(text)) <= REASON_MAX
    assert "\n" not in brief(text)
