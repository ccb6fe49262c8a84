"""Secrets of a stack: set, listed and deleted, their values seen by nobody but Secrets Manager."""

from __future__ import annotations

import pytest

from gpupipe import secrets
from gpupipe.errors import NotDeployedError, NotOursError, UsageError
from gpupipe.names import TAG_STACK
from gpupipe.resources.secret import Secret
from gpuworker.contract import model_manifest_key
from tests.account import Account
from tests.kinds.settings import config

VALUE = "hf_" + "v" * 30
MODEL = {"weights": "meadow/trees-1", "revision": "0" * 40, "token_secret": "hf_token"}


def stored(account: Account, name: str = "hf_token") -> str:
    client = account.aws.client("secretsmanager")
    return str(client.get_secret_value(SecretId=account.aws.stack.secret(name))["SecretString"])


def test_a_secret_is_made_with_its_value_and_then_changed(account: Account) -> None:
    assert secrets.set_value(account.aws, "hf_token", VALUE) is True
    assert stored(account) == VALUE
    assert secrets.set_value(account.aws, "hf_token", "another") is False
    assert stored(account) == "another"


def test_it_is_the_stacks_by_its_tags(account: Account) -> None:
    secrets.set_value(account.aws, "hf_token", VALUE)
    described = account.aws.client("secretsmanager").describe_secret(SecretId=account.aws.stack.secret("hf_token"))
    tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    assert tags[TAG_STACK] == account.aws.stack.id
    assert VALUE not in str(described)


def test_named_and_existing_ones_are_listed_without_values(account: Account) -> None:
    # given
    settings = config("segment", "other", model=MODEL)
    # when nothing is there
    [missing] = secrets.list_secrets(settings, account.aws)
    assert (missing.name, missing.exists, missing.has_value) == ("hf_token", False, False)
    assert missing.used_by == ("segment", "other")
    # then what was set is told, and another too
    secrets.set_value(account.aws, "hf_token", VALUE)
    secrets.set_value(account.aws, "roboflow_key", VALUE)
    listed = secrets.list_secrets(settings, account.aws)
    assert [(one.name, one.has_value, one.used_by) for one in listed] == [
        ("hf_token", True, ("segment", "other")),
        ("roboflow_key", True, ()),
    ]
    assert all(one.changed_at for one in listed)
    assert VALUE not in str([one.document() for one in listed])


def test_another_stacks_are_not_listed(account: Account, new_account: object) -> None:
    assert callable(new_account)
    secrets.set_value(new_account().aws, "hf_token", VALUE)
    assert secrets.list_secrets(config(), account.aws) == ()


def test_deleted_is_gone_and_its_name_is_free(account: Account) -> None:
    secrets.set_value(account.aws, "hf_token", VALUE)
    secrets.delete(account.aws, "hf_token")
    assert secrets.list_secrets(config(), account.aws) == ()
    with pytest.raises(NotDeployedError, match="no secret hf_token"):
        secrets.delete(account.aws, "hf_token")
    assert secrets.set_value(account.aws, "hf_token", VALUE) is True


def test_anothers_secret_of_that_name_is_left_alone(account: Account) -> None:
    account.aws.client("secretsmanager").create_secret(Name=account.aws.stack.secret("hf_token"), SecretString="theirs")
    with pytest.raises(NotOursError):
        secrets.set_value(account.aws, "hf_token", VALUE)
    with pytest.raises(NotOursError):
        secrets.delete(account.aws, "hf_token")
    assert stored(account) == "theirs"


@pytest.mark.parametrize("value", ["", " \n", "x" * 65_537])
def test_an_impossible_value_is_refused_before_any_call(account: Account, value: str) -> None:
    account.calls.forget()
    with pytest.raises(UsageError, match="hf_token"):
        secrets.set_value(account.aws, "hf_token", value)
    assert account.calls.made == []


def test_a_token_in_place_of_a_name_is_not_repeated(account: Account) -> None:
    token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
    with pytest.raises(UsageError) as caught:
        secrets.set_value(account.aws, token, VALUE)
    assert token not in str(caught.value)


def test_one_that_up_made_has_no_value_yet(account: Account) -> None:
    Secret.called(account.aws.stack, "hf_token").create(account.aws)
    [listed] = secrets.list_secrets(config(model=MODEL), account.aws)
    assert (listed.exists, listed.has_value, listed.changed_at) == (True, False, None)


def test_an_endpoint_is_not_made_before_its_secret_is_set(account: Account) -> None:
    # given
    settings = config("rooms", kind="endpoint", model=MODEL)
    # when
    with pytest.raises(NotDeployedError, match="secret hf_token has no value, and the endpoint of pipeline rooms"):
        secrets.check_set(settings, account.aws)
    # then with a value all is well
    secrets.set_value(account.aws, "hf_token", VALUE)
    secrets.check_set(settings, account.aws)
    assert secrets.unset(settings, account.aws) == ()


def test_an_endpoint_whose_weights_are_in_the_bucket_needs_no_token(account: Account) -> None:
    s3, bucket = account.aws.client("s3"), account.aws.stack.data_bucket("rooms")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=model_manifest_key("meadow/trees-1", "0" * 40), Body=b"{}")
    secrets.check_set(config("rooms", kind="endpoint", model=MODEL), account.aws)


def test_machines_start_later_so_their_secret_may_be_set_later(account: Account) -> None:
    settings = config("segment", model=MODEL)
    secrets.check_set(settings, account.aws)
    assert secrets.unset(settings, account.aws) == ("hf_token",)


def test_without_secrets_in_the_configuration_nothing_is_asked(account: Account) -> None:
    account.calls.forget()
    secrets.check_set(config("segment"), account.aws)
    assert secrets.unset(config("segment"), account.aws) == ()
    assert account.calls.made == []
