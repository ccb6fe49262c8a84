"""The only place that makes boto3 clients: endpoints, retries, absence, propagation and errors in plain words."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from gpupipe.errors import AwsError, CredentialsError, PermissionDeniedError
from gpupipe.names import Stack

T = TypeVar("T")

PROPAGATION_S = 60.0
"""IAM is eventually consistent: a role made seconds ago can be refused for about this long."""

ABSENT = frozenset(
    {
        *("404", "NotFound", "NoSuchBucket", "NoSuchKey", "NoSuchEntity", "NoSuchTagSet", "NoSuchBucketPolicy"),
        *("NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration", "OwnershipControlsNotFoundError"),
        *("ServerSideEncryptionConfigurationNotFoundError", "ParameterNotFound", "NotFoundException"),
        *("ResourceNotFoundException", "ResourceNotFound", "ResourceNotFoundFault"),
        *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
        *("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException"),
        *("InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound", "InvalidPermission.NotFound"),
        *("InvalidInstanceID.NotFound",),
    }
)
"""Error codes that mean "it is not there", over all services used."""

DENIED = frozenset(
    {
        *("403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"),
        *("AuthorizationError", "AuthorizationErrorException"),
    }
)

# (code, part of the message) of refusals that pass once IAM has caught up with a role made just now.
PROPAGATING = (
    ("InvalidParameterValueException", "cannot be assumed by Lambda"),
    ("InvalidParameterValueException", "role defined for the function"),
    ("InvalidParameterValueException", "execution role does not have permissions"),
    ("InvalidParameterValue", "Invalid IAM Instance Profile"),
    ("ValidationException", "Could not assume role"),
    ("ValidationException", "unable to assume"),
    ("MalformedPolicyDocument", "Invalid principal in policy"),
    ("InvalidArgument", "Unable to validate the following destination configurations"),
    ("ResourceConflictException", "currently in the following state: Pending"),
    ("ResourceConflictException", "update is in progress"),
)


@dataclass
class Aws:
    """Clients for one stack's account and region, made once each and safe to share between threads."""

    stack: Stack
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Service -> endpoint URL, with "default" for the rest; empty for AWS itself."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """aws_access_key_id, … of the local target; empty uses the person's own."""
    session: Any = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def client(self, service: str) -> Any:
        """The boto3 client of `service` (`s3`, `sqs`, …)."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        from botocore.config import Config

        if self.session is None:
            self.session = _session(self.stack.region, self.credentials)
        config = Config(
            retries={"mode": "adaptive" if service == "iam" else "standard", "max_attempts": 8},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=32,
            s3={"addressing_style": "path" if self.endpoints else "auto"},
            user_agent_extra="gpupipe",
        )
        return self.session.client(service, endpoint_url=self.endpoint(service), config=config)

    def endpoint(self, service: str) -> str | None:
        """Where `service` answers; None for AWS's own address."""
        return self.endpoints.get(service) or self.endpoints.get("default")

    @property
    def is_local(self) -> bool:
        return bool(self.endpoints)


def _session(region: str, credentials: Mapping[str, str]) -> Any:
    import boto3

    keys: dict[str, Any] = dict(credentials)
    return boto3.Session(region_name=region, **keys)


def connect(name: str, environment: str, region: str) -> Aws:
    """An `Aws` for the person's own account. Raises CredentialsError saying what is missing and how to get it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        session = _session(region, {})
        if session.get_credentials() is None:
            raise CredentialsError(
                "there are no AWS credentials.",
                hint="Run `aws configure sso` or `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                'AWS_SECRET_ACCESS_KEY; or set target = "local" in gpupipe.toml to rehearse without an account.',
            )
        caller = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise CredentialsError(
            f"the AWS credentials in use do not work in {region}: {_reason(error)}.",
            hint="Renew them (`aws sso login`, `aws configure`), check the clock and the region, and try "
            "`aws sts get-caller-identity`.",
        ) from error
    stack = Stack(
        name=name,
        environment=environment,
        account=caller["Account"],
        region=region,
        partition=caller["Arn"].split(":")[1],
    )
    return Aws(stack=stack, session=session)


def error_code(error: BaseException) -> str:
    """The service's error code of a botocore ClientError, else ""."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


def is_absent(error: BaseException) -> bool:
    """Does this error say that the thing is not there?"""
    return error_code(error) in ABSENT or "does not exist" in _not_found_message(error)


def _not_found_message(error: BaseException) -> str:
    # Launch templates and queues answer some lookups with a general code and say it in words only.
    return str(error) if error_code(error) in {"ValidationError", "InvalidParameterValue"} else ""


def absent_ok(call: Callable[..., T], **arguments: Any) -> T | None:
    """The call's answer, or None where the thing is not there."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if is_absent(error):
            return None
        raise


def propagated(call: Callable[..., T], *, within_s: float = PROPAGATION_S, **arguments: Any) -> T:
    """The call's answer, tried again while IAM or a notification target is still unknown to the service."""
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + within_s
    pause_s = 0.5
    while True:
        try:
            return call(**arguments)
        except ClientError as error:
            if not is_propagating(error) or time.monotonic() + pause_s > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.6, 5.0)


def is_propagating(error: BaseException) -> bool:
    """Is this a refusal that passes by itself once AWS has caught up with itself?"""
    code, message = error_code(error), str(error)
    return any(code == known and part in message for known, part in PROPAGATING)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn botocore's errors inside into AwsError: `could not <what>: <cause>. <remedy>`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise explain(what, error) from error
    except BotoCoreError as error:
        raise AwsError(f"could not {what}: {_reason(error)}.", hint="Check the network and the region.") from error


def explain(what: str, error: BaseException) -> AwsError:
    """The AwsError for a ClientError met while doing `what` ("create queue demo-dev-segment-work")."""
    code = error_code(error)
    action = _action(error)
    if code in DENIED:
        return PermissionDeniedError(
            f"could not {what}: {code}.",
            hint=f"Allow {action or 'this action'} to the operator (`gpupipe policy` prints the whole policy).",
            action=action,
            code=code,
        )
    return AwsError(f"could not {what}: {_reason(error)}.", hint=_remedy(code), action=action, code=code)


def _remedy(code: str) -> str:
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, code):
            return remedy
    return "Run the same command again: what was done is kept, and the rest is tried again."


_REMEDIES = {
    "Throttl|TooManyRequests|RequestLimitExceeded|SlowDown": "AWS is throttling the account; run the command again "
    "in a minute.",
    "LimitExceeded|QuotaExceeded": "A service quota is reached: ask for more in the Service Quotas console, or "
    "delete what is unused.",
    "ExpiredToken|InvalidClientTokenId|UnrecognizedClient": "The credentials have expired or are wrong: "
    "`aws sso login` or `aws configure`.",
    "QueueDeletedRecently": "SQS blocks a deleted queue's name for 60 seconds; run the command again then.",
    "BucketAlreadyExists": "Bucket names are shared by all of AWS: choose another stack name.",
    "OptInRequired|SubscriptionRequired": "The account is not signed up for this service or region; see the console.",
}


def _action(error: BaseException) -> str:
    """The IAM action that a denial names, else the operation as `Operation`."""
    named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z0-9]+)", str(error))
    return named.group(1) if named else str(getattr(error, "operation_name", ""))


def _reason(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return str(error).rstrip(".")
    details = response.get("Error", {})
    return f"{details.get('Code', 'unknown error')}: {details.get('Message', '')}".rstrip(". :")
