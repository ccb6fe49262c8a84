"""Emptying: bounded, resumable, and honest about what stays. S3 is played by a small one that can refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpupipe.errors import AwsError
from gpupipe.resources.emptying import THREADS, empty_bucket

PAGE = 1000


class SmallS3:
    """As much of S3 as emptying needs: `refuses` says which keys are kept, and how often."""

    def __init__(self, objects: int, *, refuses: Callable[[str], bool] = lambda key: False) -> None:
        self.keys = dict.fromkeys(f"{number:07}" for number in range(objects))
        self.refuses = refuses
        self.lock = threading.Lock()
        self.listed = self.deleted = self.most_waiting = 0

    def get_paginator(self, operation: str) -> SmallS3:
        self.operation = operation
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        if self.operation == "list_multipart_uploads":
            return
        with self.lock:
            keys = list(self.keys)
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            with self.lock:
                self.listed += len(page)
                self.most_waiting = max(self.most_waiting, self.listed - self.deleted)
            yield {"Versions": [{"Key": key, "VersionId": "1"} for key in page]}

    def delete_objects(self, *, Delete: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        errors = []
        with self.lock:
            for one in Delete["Objects"]:
                if self.refuses(one["Key"]):
                    errors.append({"Key": one["Key"], "Code": "SlowDown", "Message": "reduce your rate"})
                else:
                    del self.keys[one["Key"]]
            self.deleted += len(Delete["Objects"])
        return {"Errors": errors}


def test_a_large_bucket_is_emptied_with_few_pages_in_memory() -> None:
    s3 = SmallS3(40 * PAGE + 1)
    told: list[str] = []

    empty_bucket(s3, "b", "1", told.append)

    assert not s3.keys
    assert told[-1] == "40,001 objects deleted"
    assert s3.most_waiting <= (2 * THREADS + 1) * PAGE


def test_what_s3_refuses_for_the_moment_goes_in_the_next_pass() -> None:
    refused: set[str] = set()

    def once(key: str) -> bool:
        first = key not in refused
        refused.add(key)
        return first and key.endswith("7")

    s3 = SmallS3(500, refuses=once)
    told: list[str] = []

    empty_bucket(s3, "b", "1", told.append)

    assert not s3.keys
    assert told[-1] == "500 objects deleted"


def test_what_stays_for_good_is_said() -> None:
    s3 = SmallS3(10, refuses=lambda key: key == "0000003")

    with pytest.raises(AwsError, match=r"1 objects stay, the first '0000003' by SlowDown: reduce your rate"):
        empty_bucket(s3, "b", "1", lambda text: None)

    assert list(s3.keys) == ["0000003"]


def test_a_writer_that_does_not_stop_is_given_up_on() -> None:
    s3 = SmallS3(1)

    def write_again(text: str) -> None:
        s3.keys["again"] = None

    with pytest.raises(AwsError, match="new objects keep coming"):
        empty_bucket(s3, "b", "1", write_again)
