"""The inventory in the state bucket."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gpupipe.errors import GpupipeError, IntegrityError, StalePlanError
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.state import INVENTORY_KEY, Entry, Inventory, object_of, put_if
from tests.account import Account

ONE = Entry(kind="queue", key="queue/one", name="demo-dev-one", pipeline="segment")
TWO = Entry(kind="launch template", key="launch-template/two", name="demo-dev-two")


@pytest.fixture
def account(account: Account) -> Account:
    StateBucket.of(account.aws.stack).create(account.aws)
    return account


def test_without_a_bucket_there_is_an_empty_inventory(new_account: Callable[[], Account]) -> None:
    assert Inventory.read(new_account().aws) == Inventory()


def test_what_is_written_is_read_from_another_machine(account: Account) -> None:
    written = Inventory().written(account.aws, [ONE, TWO])

    read = Inventory.read(account.again().aws)

    assert read == written
    assert read.entries == {"queue/demo-dev-one": ONE, "launch-template/demo-dev-two": TWO}


def test_of_two_writers_one_wins_and_the_other_hears_of_it(account: Account) -> None:
    base = Inventory().written(account.aws, [ONE])
    base.written(account.aws, [ONE])

    with pytest.raises(StalePlanError):
        base.written(account.aws, [TWO])
    with pytest.raises(StalePlanError):
        Inventory().written(account.aws, [TWO])
    assert Inventory.read(account.aws).entries == {ONE.id: ONE}


def test_an_answer_that_got_lost_is_no_lost_race(account: Account) -> None:
    """boto3 sends a request again whose answer it did not get; the second finds the first one's work."""
    document = {"token": "mine"}
    etag = put_if(account.aws, "some.json", document, "")

    assert put_if(account.aws, "some.json", document, "") == etag
    assert put_if(account.aws, "some.json", {"token": "another's"}, "") is None


def test_an_inventory_from_the_future_is_not_misread(account: Account) -> None:
    document = json.dumps({"version": 99, "gpupipe": "9.9"}).encode()
    account.aws.client("s3").put_object(Bucket=account.aws.stack.state_bucket, Key="inventory.json", Body=document)

    with pytest.raises(GpupipeError, match=r"gpupipe 9\.9, newer") as caught:
        Inventory.read(account.aws)
    assert "pip install -U gpupipe" in caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "x"}', "[" * 100_000])
def test_an_inventory_that_is_damaged_says_so(account: Account, text: str) -> None:
    account.aws.client("s3").put_object(**object_of(account.aws, INVENTORY_KEY), Body=text.encode())
    with pytest.raises(IntegrityError, match=r"inventory\.json of stack .* is damaged"):
        Inventory.read(account.aws)


def test_the_state_bucket_is_found_and_is_no_data_bucket(account: Account) -> None:
    from gpupipe.resources.bucket import Bucket

    assert [one.name for one in StateBucket.find(account.aws)] == [account.aws.stack.state_bucket]
    assert list(Bucket.find(account.aws)) == []
