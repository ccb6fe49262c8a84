"""botocore's errors in plain words: action, thing, cause and remedy."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from typing import Any

from gpupipe.errors import AwsError, CredentialsError, GpupipeError, PermissionDeniedError
from gpuworker.contract import error_code, error_message

DENIED = frozenset(
    {
        *("403", "Forbidden", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"),
        *("AuthorizationError", "AuthorizationErrorException", "UnauthorizedException"),
    }
)
"""Error codes that mean "you may not", over all services used."""

NEW_KEYS = (
    "Run `aws configure sso` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
REHEARSE = 'set target = "local" in gpupipe.toml to rehearse without an account'

# What is wrong with credentials: (code or botocore class, cause, remedy), the first that matches.
_CREDENTIALS: tuple[tuple[str, str, str], ...] = (
    ("NoCredentialsError", "there are no AWS credentials", f"{NEW_KEYS}; or {REHEARSE}."),
    ("PartialCredentialsError", "half of the AWS credentials is missing", f"{NEW_KEYS}."),
    ("ProfileNotFound", "the AWS profile does not exist", "See `aws configure list-profiles`, and AWS_PROFILE."),
    (
        "SSO|Login|TokenRetrievalError|UnauthorizedSSOToken",
        "the AWS sign-in has expired",
        "Sign in again with `aws sso login` (or `aws login`); add `--profile NAME` where AWS_PROFILE names one.",
    ),
    (
        "ExpiredToken|RequestExpired|TokenRefreshRequired",
        "the AWS session has expired",
        "Renew it: `aws sso login`, or fetch new temporary keys.",
    ),
    (
        "RequestTimeTooSkewed|SignatureDoesNotMatch|InvalidSignature",
        "AWS refuses the signature of the request",
        "Check this machine's clock and the secret access key (`aws configure`).",
    ),
    (
        "InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|AuthFailure|IncompleteSignature",
        "AWS does not know the access key in use",
        "Renew it (`aws configure`); a region that must be opted in to first refuses every key: enable it under "
        "Account > AWS Regions in the console.",
    ),
    ("CredentialRetrievalError|MetadataRetrievalError", "the AWS credentials could not be fetched", f"{NEW_KEYS}."),
)

_REMEDIES = {
    "Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|RequestThrottled": "AWS is throttling the account: run the "
    "command again in a minute.",
    "LimitExceeded|QuotaExceeded|TooManyBuckets": "A service quota is reached: ask for more in the Service Quotas "
    "console, or delete what is unused.",
    "QueueDeletedRecently": "SQS blocks a deleted queue's name for 60 seconds: run the command again then.",
    "BucketAlreadyExists": "Bucket names are shared by all of AWS: choose another stack name.",
    "OptInRequired|SubscriptionRequired": "The account is not signed up for this service or region; see the console.",
    "DependencyViolation|DeleteConflict|ResourceInUse": "Something still uses it: run the command again once that is "
    "gone.",
    "ConnectionError|ConnectTimeout|ReadTimeout|ProxyConnection|SSLError|ConnectionClosed": "Check the network, a "
    "proxy (HTTPS_PROXY) and the region, and run the command again.",
}
_QUOTA = (
    "The account may run too few of this instance type: ask for more in the Service Quotas console (Amazon SageMaker, "
    "'<type> for endpoint usage'), or choose another type under compute.instance_types. New accounts often have 0."
)
_CAPACITY = (
    "AWS has none of this instance type free just now: name further types under compute.instance_types, or try again "
    "later."
)
_CONTAINER = (
    "Start the image by hand with `docker run IMAGE serve` and ask it GET /ping on port 8080; `gpupipe logs` shows "
    "what it wrote."
)
_IMAGE = (
    "Check the image's URI and tag in gpupipe.toml, that it was pushed to ECR in this region, and that it is built "
    "for linux/amd64."
)
# By what SageMaker says: it has one code for every mistake, and reasons of failure have none at all.
_SAGEMAKER: tuple[tuple[str, str], ...] = (
    ("for endpoint usage|account-level service limit", _QUOTA),
    ("InsufficientInstanceCapacity|insufficient capacity|Unable to provision requested ML compute", _CAPACITY),
    ("CannotStartContainer|ping health check|exec format|invoked with 'docker run", _CONTAINER),
    ("image.*(not found|does not exist)|[Nn]ot find.*image|Requested image|RepositoryNotFound|ImageNotFound", _IMAGE),
    (
        "BatchGetImage|access denied.*(repository|registry)|ecr:",
        "The endpoint's role may not read the image: an image of another account needs a repository policy there.",
    ),
    (
        "[Cc]ould not assume role|trust relationship|unable to assume",
        "AWS does not know the role yet, or it was changed by hand: run `gpupipe up` again in a minute.",
    ),
    (
        "alarm",
        "A rollback alarm went off during the update: see `gpupipe logs`, mend the new image, and run `gpupipe up` "
        "again.",
    ),
    ("in-progress endpoint", "It is being changed by AWS or by autoscaling: run the command again in a few minutes."),
    (
        "registered as a scalable target|configured for auto ?scaling",
        "Something else has put it under autoscaling: deregister that scalable target, and run the command again.",
    ),
    ("[Ff]ailed to download|S3.*(denied|403)", "Check that the model's objects exist and that the role may read them."),
)
AGAIN = "Run the same command again: what was done is kept, and the rest is tried again."


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn botocore's errors inside into AwsError: `could not <what>: <cause>. <remedy>`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explain(what, error) from error


def explain(what: str, error: BaseException) -> GpupipeError:
    """The error to show for a botocore error met while doing `what` ("create queue demo-dev-segment-work")."""
    code = error_code(error)
    if code in DENIED:
        return _denied(what, error)
    if lost := credentials_error(error):
        return CredentialsError(f"could not {what}: {lost.message}", hint=lost.hint)
    return AwsError(f"could not {what}: {_reason(error)}.", hint=_remedy(error), action=_action(error), code=code)


def credentials_error(error: BaseException) -> CredentialsError | None:
    """What to do about credentials, where `error` says that they are missing, expired or wrong; else None."""
    code = error_code(error) or type(error).__name__
    for pattern, cause, remedy in _CREDENTIALS:
        if re.search(pattern, code):
            detail = "" if code == "NoCredentialsError" else f" ({_reason(error)})"
            return CredentialsError(f"{cause}{detail}.", hint=remedy)
    return None


def unknown_region(region: str, session: Any) -> str:
    """`; us-est-1 is not a region known here, did you mean us-east-1?`, or "" for one that boto3 knows."""
    known = [name for part in session.get_available_partitions() for name in session.get_available_regions("ec2", part)]
    if region in known:
        return ""
    near = difflib.get_close_matches(region, known, n=2)
    guess = f", did you mean {' or '.join(near)}?" if near else ""
    return f"; {region} is not a region known here{guess}"


def _denied(what: str, error: BaseException) -> PermissionDeniedError:
    action, code = _action(error), error_code(error)
    who = re.search(r"(arn:[a-z-]+:(?:iam|sts)::\d*:[\w+=,.@/-]+) is not authorized", str(error))
    by_order = "explicit deny" in str(error) or "service control policy" in str(error)
    remedy = f"Allow {action or 'this action'} to {who.group(1) if who else 'the user or role in use'}"
    if by_order:
        remedy = "A policy of the account or its organization forbids it: ask who administers them"
    return PermissionDeniedError(f"could not {what}: {code}.", hint=f"{remedy}.", action=action, code=code)


def endpoint_remedy(reason: str) -> str:
    """What to do about an endpoint that failed, or was rolled back, for this reason."""
    return (
        _sagemaker_remedy(reason) or "Mend what is named and run `gpupipe up` again: it makes a failed endpoint anew."
    )


def _sagemaker_remedy(text: str) -> str:
    return next((remedy for pattern, remedy in _SAGEMAKER if re.search(pattern, text)), "")


def _remedy(error: BaseException) -> str:
    code = error_code(error) or type(error).__name__
    if code in {"ValidationException", "ResourceLimitExceeded"} and (told := _sagemaker_remedy(str(error))):
        return told
    return next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, code)), AGAIN)


def _action(error: BaseException) -> str:
    """The IAM action that a denial names, else the name of the operation."""
    operation = str(getattr(error, "operation_name", ""))
    named = re.search(r"perform:? ([a-z0-9-]+):([A-Za-z0-9]+)", str(error))
    if not named:
        return operation
    service, action = named.groups()
    # SQS writes the action in lower case; the operation's own spelling is what a policy has.
    return f"{service}:{operation if action.lower() == operation.lower() else action}"


def _reason(error: BaseException) -> str:
    code = error_code(error)
    return f"{code}: {error_message(error)}".rstrip(". :") if code else str(error).rstrip(".")
