"""What people read when AWS says no: action, thing, cause, remedy."""

from __future__ import annotations

from pathlib import Path

import botocore.exceptions as boto
import pytest
from botocore.exceptions import ClientError

from gpupipe.aws import connect
from gpupipe.errors import AwsError, CredentialsError, PermissionDeniedError
from gpupipe.explain import endpoint_remedy, explain, explained


def refusal(code: str, message: str = "", operation: str = "CreateQueue") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


SQS_DENIAL = (
    "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: sqs:createqueue on resource: "
    "arn:aws:sqs:us-east-1:123456789012:demo because no identity-based policy allows the sqs:createqueue action"
)


def test_a_denial_names_the_action_and_who_needs_it() -> None:
    error = explain("create queue demo", refusal("AccessDenied", SQS_DENIAL))

    assert isinstance(error, PermissionDeniedError)
    assert str(error) == (
        "could not create queue demo: AccessDenied. Allow sqs:CreateQueue to arn:aws:iam::123456789012:user/ada."
    )
    assert (error.action, error.code) == ("sqs:CreateQueue", "AccessDenied")


def test_a_denial_without_words_names_the_operation() -> None:
    error = explain("read bucket demo", refusal("403", "Forbidden", "HeadBucket"))

    assert str(error) == "could not read bucket demo: 403. Allow HeadBucket to the user or role in use."


def test_a_denial_by_the_organization_cannot_be_allowed_by_the_operator() -> None:
    message = SQS_DENIAL.replace(
        "because no identity-based policy allows", "with an explicit deny in a service control policy for"
    )

    error = explain("create queue demo", refusal("AccessDenied", message))

    assert "ask who administers" in error.hint


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (refusal("ExpiredToken", "expired"), "session has expired", "aws sso login"),
        (refusal("InvalidClientTokenId", "bad"), "does not know the access key", "opted in"),
        (refusal("SignatureDoesNotMatch", "bad"), "signature", "clock"),
        (boto.NoCredentialsError(), "no AWS credentials", "aws configure"),
        (boto.UnauthorizedSSOTokenError(), "sign-in has expired", "aws sso login"),
        (boto.SSOTokenLoadError(error_msg="missing", profile_name="work"), "sign-in has expired", "--profile"),
        (boto.TokenRetrievalError(provider="sso", error_msg="expired"), "sign-in has expired", "aws sso login"),
        (boto.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), "half of", "aws configure"),
    ],
)
def test_credentials_are_told_from_permissions(error: Exception, cause: str, remedy: str) -> None:
    explanation = explain("read queue demo", error)

    assert isinstance(explanation, CredentialsError)
    assert explanation.message.startswith("could not read queue demo: ")
    assert cause in explanation.message
    assert remedy in explanation.hint


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ThrottlingException", "throttling"),
        ("RequestLimitExceeded", "throttling"),
        ("LimitExceededException", "Service Quotas"),
        ("VcpuLimitExceeded", "Service Quotas"),
        ("QueueDeletedRecently", "60 seconds"),
        ("BucketAlreadyExists", "another stack name"),
        ("DependencyViolation", "still uses it"),
        ("SomethingNew", "Run the same command again"),
    ],
)
def test_known_refusals_have_a_remedy(code: str, remedy: str) -> None:
    error = explain("create queue demo", refusal(code, "words"))

    assert error.message == f"could not create queue demo: {code}: words."
    assert remedy in error.hint


def test_a_network_that_does_not_answer_is_told_as_such() -> None:
    with pytest.raises(AwsError, match="could not read queue demo") as caught, explained("read queue demo"):
        raise boto.EndpointConnectionError(endpoint_url="https://sqs.eu-west-1.amazonaws.com")

    assert "Check the network" in caught.value.hint
    assert isinstance(caught.value.__cause__, boto.EndpointConnectionError)


# --- connecting, with a home that has no credentials ---------------------------------------------------------


@pytest.fixture
def bare_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Nothing here may reach AWS: port 9 of this machine answers nobody.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return monkeypatch


def test_without_credentials_it_says_how_to_get_some(bare_home: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialsError) as caught:
        connect("demo", "dev", "us-east-1")

    assert caught.value.message == "there are no AWS credentials."
    assert "aws configure" in caught.value.hint
    assert 'target = "local"' in caught.value.hint


def test_a_profile_that_is_not_there_is_named(bare_home: pytest.MonkeyPatch) -> None:
    bare_home.setenv("AWS_PROFILE", "wrok")

    with pytest.raises(CredentialsError, match="wrok"):
        connect("demo", "dev", "us-east-1")


def test_half_of_the_credentials_is_not_enough(bare_home: pytest.MonkeyPatch) -> None:
    bare_home.setenv("AWS_ACCESS_KEY_ID", "AKIA")

    with pytest.raises(CredentialsError, match="half of the AWS credentials is missing"):
        connect("demo", "dev", "us-east-1")


def test_a_misspelled_region_is_found(bare_home: pytest.MonkeyPatch) -> None:
    bare_home.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    bare_home.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    with pytest.raises(CredentialsError, match=r"did you mean .*us-east-1") as caught:
        connect("demo", "dev", "us-esat-1")

    assert "Check the network" in caught.value.hint


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances", "Service Quotas"),
        ("Could not assume role arn:aws:iam::1:role/x. Please ensure that the role exists", "again in a minute"),
        ("Requested image 1.dkr.ecr.us-east-1.amazonaws.com/rooms:1 not found.", "pushed to ECR"),
        ('Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/x".', "in a few minutes"),
        ("The role 'x' does not have BatchGetImage permission for the image", "repository policy"),
    ],
)
def test_sagemaker_has_one_code_for_every_mistake(message: str, remedy: str) -> None:
    code = "ResourceLimitExceeded" if "limit" in message else "ValidationException"

    error = explain("create endpoint demo", refusal(code, message, "CreateEndpoint"))

    assert remedy in error.hint


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (
            "Unable to provision requested ML compute capacity: InsufficientInstanceCapacity.",
            "further types",
        ),
        ("The primary container for production variant main did not pass the ping health check.", "docker run IMAGE"),
        ("CannotStartContainerError. Please ensure the model container starts correctly", "docker run IMAGE"),
        ("One or more configured alarm(s) went into ALARM state during deployment: [failing]", "rollback alarm"),
        ("Request to service failed.", "Mend what is named"),
    ],
)
def test_an_endpoint_that_failed_says_what_to_do(reason: str, remedy: str) -> None:
    assert remedy in endpoint_remedy(reason)
