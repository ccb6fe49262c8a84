"""Secret: made without a value, never read, and its name free again once it is deleted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.resources.contract import Stacks, assert_as_wanted
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.secret import Secret, has_value


@pytest.fixture
def secret(stacks: Stacks) -> Secret:
    return Samples(stacks.mine).secret()


def test_a_new_one_has_no_value_and_says_how_to_set_it(aws: Aws, secret: Secret) -> None:
    secret.create(aws)
    observed = secret.observe(aws)
    assert observed is not None
    assert observed.note == "without a value: `gpupipe secrets set hf_token`"


def test_one_with_a_value_keeps_it_through_every_up_and_it_is_never_asked_for(aws: Aws, secret: Secret) -> None:
    # given
    secret.create(aws)
    client = aws.client("secretsmanager")
    client.put_secret_value(SecretId=secret.name, SecretString="value")
    calls: list[str] = []
    aws.gate = lambda service, operation: calls.append(operation)
    # when
    secret.create(aws)
    secret.update(aws, frozenset({"tags"}))
    observed = secret.observe(aws)
    # then
    assert observed is not None
    assert observed.note == ""
    assert "value" not in observed.fields.values()
    assert "GetSecretValue" not in calls
    aws.gate = None
    assert client.get_secret_value(SecretId=secret.name)["SecretString"] == "value"


def test_one_that_waits_for_its_deletion_is_taken_back(aws: Aws, secret: Secret) -> None:
    # given somebody who deleted it in the console
    secret.create(aws)
    client = aws.client("secretsmanager")
    client.put_secret_value(SecretId=secret.name, SecretString="value")
    client.delete_secret(SecretId=secret.name, RecoveryWindowInDays=7)
    assert secret.observe(aws) is None
    assert list(Secret.find(aws)) == []
    # when
    secret.create(aws)
    # then
    assert_as_wanted(aws, secret)
    assert client.get_secret_value(SecretId=secret.name)["SecretString"] == "value"


def test_a_policy_names_it_before_it_is_made(aws: Aws, secret: Secret) -> None:
    pattern = f"arn:aws:secretsmanager:us-east-1:{secret.stack.account}:secret:demo-dev/hf_token-??????"
    assert secret.arn_pattern == pattern
    assert (secret.key, secret.short_name) == ("secret/hf_token", "hf_token")


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"VersionIdsToStages": {"v1": ["AWSCURRENT"]}}, True),
        ({"SecretVersionsToStages": {"v1": ["AWSPREVIOUS"], "v2": ["AWSCURRENT", "x"]}}, True),
        ({"VersionIdsToStages": {"v1": ["AWSPENDING"]}}, False),
        ({"LastChangedDate": datetime.now(UTC)}, False),
    ],
)
def test_a_value_is_known_by_its_version(described: dict[str, object], expected: bool) -> None:
    assert has_value(described) is expected
