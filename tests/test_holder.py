"""The lock's document: written by any gpupipe, damaged by anybody, and read for what it is worth."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from typing import Any

import pytest

from gpupipe.aws import Aws
from gpupipe.holder import LEASE_S, LONGEST_BYTES, Holder, nobody_held_between
from gpupipe.names import Stack
from gpupipe.process_identity import Unknown

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD: dict[str, Any] = {
    "who": "ann@laptop",
    "pid": 12,
    "command": "gpupipe up",
    "since": "2026-11-27T11:59:00+00:00",
    "token": "t",
    "lease_s": 90.0,
    "renewals": 2,
    "released": False,
}
"""As gpupipe wrote it before it knew of processes."""
STACK = Stack(name="demo", environment="dev", account="123456789012", region="us-east-1")


class Bucket:
    """Stands in for S3: one object, so many seconds old by S3's clock."""

    def __init__(self, body: bytes, age_s: float) -> None:
        self.body, self.age_s = body, age_s

    def get_object(self, **_: Any) -> dict[str, Any]:
        return {
            "Body": BytesIO(self.body),
            "ETag": '"e"',
            "LastModified": NOW - timedelta(seconds=self.age_s),
            "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOW, usegmt=True)}},
        }


def account(body: bytes, *, age_s: float = 10.0) -> Aws:
    aws = Aws(stack=STACK)
    aws._clients["s3"] = Bucket(body, age_s)
    return aws


def read(document: Any, *, age_s: float = 10.0) -> Holder:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    holder, now = Holder.read(account(body, age_s=age_s), machine=Unknown())
    assert holder is not None
    assert now == NOW.isoformat(timespec="seconds")
    return holder


@pytest.mark.parametrize(("age_s", "held"), [(10, True), (89, True), (90, False)])
def test_an_old_document_holds_for_its_lease(age_s: float, held: bool) -> None:
    holder = read(OLD, age_s=age_s)

    assert (holder.who, holder.renewals, holder.damage, holder.is_held) == ("ann@laptop", 2, "", held)
    assert not holder.is_gone


def test_what_a_newer_gpupipe_adds_is_not_minded() -> None:
    holder = read({**OLD, "machine": "m", "colour": "red", "process": {"a": [1]}})

    assert (holder.damage, holder.machine, holder.is_held) == ("", "m", True)
    assert holder.document().keys() == OLD.keys() | {"machine", "boot", "pid_namespace", "started"}


def test_what_is_read_beside_the_document_cannot_be_written_into_it() -> None:
    """Nobody is gone because a document says so."""
    holder = read({**OLD, "is_gone": True, "age_s": 1e9, "etag": "x", "damage": "y"})

    assert (holder.is_held, holder.age_s, holder.etag, holder.damage) == (True, 10.0, '"e"', "")


DAMAGED = {
    "empty": (b"", "not JSON"),
    "half": (json.dumps(OLD).encode()[:40], "not JSON"),
    "no text": (b"\xff\xfe\x00", "not JSON"),
    "deep": (b"[" * 50_000, "not JSON"),
    "large": (b'"' + b"x" * LONGEST_BYTES + b'"', "more than 65,536 bytes"),
    "list": ([OLD], "no JSON object"),
    "null": (None, "no JSON object"),
    "nothing": ({}, "without who, pid, command, since, token"),
    "no pid": ({name: value for name, value in OLD.items() if name != "pid"}, "without pid"),
    "pid as text": ({**OLD, "pid": "12"}, "impossible pid"),
    "pid of all": ({**OLD, "pid": -1}, "impossible pid"),
    "pid of none": ({**OLD, "pid": 10**30}, "impossible pid"),
    "pid as truth": ({**OLD, "pid": True}, "impossible pid"),
    "lease as text": ({**OLD, "lease_s": "90"}, "impossible lease_s"),
    "lease for ever": ({**OLD, "lease_s": 1e300}, "impossible lease_s"),
    "lease of nothing": ({**OLD, "lease_s": float("nan")}, "impossible lease_s"),
    "lease below nothing": ({**OLD, "lease_s": -1}, "impossible lease_s"),
    "huge lease": ({**OLD, "lease_s": 10**400}, "impossible lease_s"),
    "released as text": ({**OLD, "released": "no"}, "impossible released"),
    "who as list": ({**OLD, "who": ["ann"]}, "impossible who"),
    "half a character": ({**OLD, "who": "\ud800"}, "impossible who"),
    "machine as number": ({**OLD, "machine": 7}, "impossible machine"),
    "two of them": ({**OLD, "who": 1, "renewals": 1.5}, "impossible who, renewals"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_document_counts_as_held_for_a_lease(case: str) -> None:
    body, why = DAMAGED[case]

    assert read(body).damage == why
    assert read(body, age_s=LEASE_S - 1).is_held
    assert not read(body, age_s=LEASE_S).is_held


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_lock_says_where_it_lies_and_what_to_do(case: str) -> None:
    body, why = DAMAGED[case]
    error = read(body).refusal(Aws(stack=STACK))

    assert f"s3://{STACK.state_bucket}/lock.json, is damaged ({why})" in error.message
    assert "written 10 s ago" in error.message
    assert "until it is 90 s old" in error.hint
    assert "delete that object" in error.hint
    assert "it is taken over" in read(body, age_s=200).why_taken_over()


def test_nobody_held_it_between_two_readings_of_the_same_free_lock() -> None:
    held, free, other = read(OLD), read({**OLD, "released": True}), Holder(**{**OLD, "etag": '"f"'})

    assert nobody_held_between(None, None)
    assert nobody_held_between(free, free)
    assert not nobody_held_between(None, free)
    assert not nobody_held_between(free, None)
    assert not nobody_held_between(held, held)
    assert not nobody_held_between(free, other)
