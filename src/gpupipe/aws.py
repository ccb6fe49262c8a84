"""The only place that makes boto3 clients: endpoints, retries, absence and propagation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, TypeVar

from gpupipe.clock import SYSTEM, Clock, looks
from gpupipe.errors import AwsError, CredentialsError
from gpupipe.explain import DENIED, credentials_error, explain, explained, unknown_region
from gpupipe.names import Stack
from gpupipe.threads import at_once
from gpuworker.contract import NO_OBJECT, error_code

__all__ = ["DENIED", "Aws", "absent_ok", "connect", "error_code", "explain", "explained", "is_absent", "is_mutation"]
__all__ += ["is_propagating", "together"]

T = TypeVar("T")

PROPAGATION_S = 75.0
"""IAM is eventually consistent: a role made seconds ago can be refused for about a minute."""
FIRST_PAUSE_S = 0.5

ABSENT_BY_SERVICE: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        {
            *NO_OBJECT,
            *("NoSuchBucket", "NoSuchVersion", "NoSuchUpload", "NoSuchTagSet"),
            *("NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration"),
            *("OwnershipControlsNotFoundError", "ServerSideEncryptionConfigurationNotFoundError"),
        }
    ),
    "sqs": frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}),
    "dynamodb, lambda, logs, events, secretsmanager": frozenset({"ResourceNotFoundException"}),
    "iam": frozenset({"NoSuchEntity", "NoSuchEntityException"}),
    "cloudwatch": frozenset({"ResourceNotFound", "ResourceNotFoundException"}),
    "ssm": frozenset({"ParameterNotFound"}),
    "sns": frozenset({"NotFound", "NotFoundException"}),
    "application-autoscaling": frozenset({"ObjectNotFoundException"}),
    "ec2": frozenset(
        {
            *("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException"),
            *("InvalidLaunchTemplateId.VersionNotFound", "InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound"),
            *("InvalidGroupId.NotFound", "InvalidPermission.NotFound", "InvalidInstanceID.NotFound"),
            *("InvalidVpcID.NotFound", "InvalidSubnetID.NotFound", "InvalidAMIID.NotFound"),
        }
    ),
}
ABSENT = frozenset[str]().union(*ABSENT_BY_SERVICE.values())
"""Error codes that mean "it is not there", over all services used."""
ABSENT_MESSAGES = ("Could not find", "No scalable target found", "No scaling policy found")
"""What SageMaker says with the code of every mistake, "ValidationException"."""

# (code, part of the message) of refusals that pass once AWS has caught up with itself.
PROPAGATING = (
    ("InvalidParameterValueException", "cannot be assumed by Lambda"),
    ("InvalidParameterValueException", "role defined for the function"),
    ("InvalidParameterValueException", "execution role does not have permissions"),
    ("InvalidParameterValue", "Invalid IAM Instance Profile"),
    ("ValidationException", "Could not assume role"),
    ("ValidationException", "unable to assume"),
    # SageMaker: a role or its right to the image made just now; a model or configuration made just now.
    ("ValidationException", "trust relationship policy allows the action"),
    ("ValidationException", "does not have BatchGetImage permission"),
    ("ValidationException", "Could not find model"),
    ("ValidationException", "Could not find endpoint configuration"),
    # Application Auto Scaling: its own role and target made just now; two changes of one target at once.
    ("ObjectNotFoundException", "No scalable target registered"),
    ("ValidationException", "Unable to assume IAM role"),
    ("ConcurrentUpdateException", ""),
    ("ValidationException", "must allow AWS EventBridge Scheduler to assume"),
    ("MalformedPolicyDocument", "Invalid principal in policy"),
    ("InvalidArgument", "Unable to validate the following destination configurations"),
    ("ResourceConflictException", "currently in the following state: Pending"),
    ("ResourceConflictException", "update is in progress"),
    # A deleted queue's name is blocked for 60 seconds; a deleted bucket's for a moment.
    ("AWS.SimpleQueueService.QueueDeletedRecently", ""),
    ("QueueDeletedRecently", ""),
    ("OperationAborted", "conflicting conditional operation"),
    ("ConcurrentModification", ""),
    ("EntityTemporarilyUnmodifiable", ""),
)

READS = ("Get", "List", "Describe", "Head", "BatchGet", "Query", "Scan", "Lookup", "Search", "Filter", "Simulate")

READ_TIMEOUTS_S = {"sagemaker-runtime": 75}
"""Seconds to wait for an answer where a minute is too short: SageMaker gives a container 60 seconds for its own."""

RESTORED_TRIES = 5
"""So often a call that got no answer is made again after an attendant has seen to it, and not after boto3's random
pauses: its eight attempts at a dead port of this machine took 37 and 64 s."""

Gate = Callable[[str, str], None]
"""Called with service and operation before every call; raises to stop it."""


class Attendant(Protocol):
    """Who sees to it that something answers at an account's endpoints, where that is in anybody's hands."""

    def require(self) -> None:
        """Raise GpupipeError where nothing will answer any more; asked before every call."""
        ...

    def restore(self) -> None:
        """Return once a call that got no answer may get one. Raises GpupipeError where none will."""
        ...

    def end(self) -> None:
        """See to nothing any more."""
        ...


@dataclass
class Aws:
    """Clients for one stack's account and region, made once each and safe to share between threads."""

    stack: Stack
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Service -> endpoint URL, with "default" for the rest; empty for AWS itself."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """aws_access_key_id, … of the local target; empty uses the person's own."""
    session: Any = None
    gate: Gate | None = field(default=None, repr=False)
    """Set while a plan is applied: it refuses calls once the lock is lost or Ctrl-C was pressed."""
    clock: Clock = field(default=SYSTEM, repr=False)
    """By which is waited for AWS."""
    attendant: Attendant | None = field(default=None, repr=False)
    """Of the local target while a command works on it."""
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

        self._open_session()
        config = Config(
            retries={"mode": "adaptive" if service == "iam" else "standard", "max_attempts": 8},
            connect_timeout=5,
            read_timeout=READ_TIMEOUTS_S.get(service, 60),
            max_pool_connections=32,
            s3={"addressing_style": "path" if self.endpoints else "auto"},
            user_agent_extra="gpupipe",
        )
        client = self.session.client(service, endpoint_url=self.endpoint(service), config=config)
        client.meta.events.register("before-call", self._before_call)
        # As deep in botocore's tree of events as its own handler of retries, and before that.
        event = f"needs-retry.{client.meta.service_model.service_id.hyphenize()}"
        client.meta.events.register_first(event, self._seconds_until_restored)
        return client

    def _seconds_until_restored(
        self, operation: Any, caught_exception: Any = None, attempts: int = 1, **_: Any
    ) -> float | None:
        """For a call that got no answer: 0 once it may be made again; None leaves it to botocore."""
        from botocore.exceptions import ConnectionError as NoConnectionError
        from botocore.exceptions import HTTPClientError

        is_unanswered = isinstance(caught_exception, NoConnectionError | HTTPClientError)
        if self.attendant is None or not is_unanswered or attempts > RESTORED_TRIES:
            return None
        self.attendant.restore()
        if self.gate is not None:  # the lock may have been lost, or Ctrl-C pressed, in the meantime
            self.gate(operation.service_model.service_name, operation.name)
        return 0.0

    def answered(self, call: Callable[[], T]) -> T:
        """The answer of what makes calls by other means than boto3's clients, or reads their streams: made again
        where an attendant restores what did not answer. Raises what the last one raises."""
        for _ in range(RESTORED_TRIES if self.attendant else 0):
            try:
                return call()
            except AwsError as error:
                if error.code or self.attendant is None:
                    raise
                self.attendant.restore()
        return call()

    def _before_call(self, model: Any, **_: Any) -> None:
        if self.attendant is not None:
            self.attendant.require()
        if self.gate is not None:
            self.gate(model.service_model.service_name, model.name)

    def gated(self, gate: Gate | None) -> Aws:
        """The same account by clients of their own, which ask `gate` before every call; by default nobody."""
        with self._lock:
            self._open_session()
        return Aws(
            stack=self.stack,
            endpoints=self.endpoints,
            credentials=self.credentials,
            session=self.session,
            gate=gate,
            clock=self.clock,
            attendant=self.attendant,
        )

    def _open_session(self) -> None:
        if self.session is None:
            self.session = _session(self.stack.region, self.credentials)

    def endpoint(self, service: str) -> str | None:
        """Where `service` answers; None for AWS's own address."""
        return self.endpoints.get(service) or self.endpoints.get("default")

    @property
    def is_local(self) -> bool:
        return bool(self.endpoints)

    def propagated(self, call: Callable[..., T], *, within_s: float = PROPAGATION_S, **arguments: Any) -> T:
        """The call's answer, tried again while IAM or a notification target is still unknown to the service."""
        return self._patiently(call, is_propagating, within_s, arguments)

    def retried(self, call: Callable[..., T], *, codes: Collection[str], within_s: float, **arguments: Any) -> T:
        """The call's answer, tried again while it is refused with one of `codes` (`DependencyViolation`)."""
        return self._patiently(call, lambda error: error_code(error) in codes, within_s, arguments)

    def _patiently(
        self,
        call: Callable[..., T],
        passes: Callable[[BaseException], bool],
        within_s: float,
        arguments: Mapping[str, Any],
    ) -> T:
        from botocore.exceptions import ClientError

        refusal: ClientError
        for _ in looks(self.clock, within_s=within_s, pause_s=FIRST_PAUSE_S):
            try:
                return call(**arguments)
            except ClientError as error:
                if not passes(error):
                    raise
                refusal = error
        raise refusal


def _session(region: str, credentials: Mapping[str, str]) -> Any:
    import boto3

    keys: dict[str, Any] = dict(credentials)
    return boto3.Session(region_name=region, **keys)


def connect(name: str, environment: str, region: str, extra_tags: Mapping[str, str] | None = None) -> Aws:
    """An `Aws` for the person's own account. Raises CredentialsError saying what is missing and how to get it."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    session: Any = None
    try:
        session = _session(region, {})
        if session.get_credentials() is None:
            raise NoCredentialsError
        caller = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise _not_connected(error, region, session) from error
    stack = Stack(
        name=name,
        environment=environment,
        account=caller["Account"],
        region=region,
        partition=caller["Arn"].split(":")[1],
        extra_tags=tuple(sorted((extra_tags or {}).items())),
    )
    return Aws(stack=stack, session=session)


def _not_connected(error: Exception, region: str, session: Any) -> CredentialsError:
    doubt = unknown_region(region, session) if session is not None else ""
    lost = credentials_error(error) or explain(f"ask AWS in {region} who is calling", error)
    return CredentialsError(f"{lost.message.rstrip('.')}{doubt or '.'}", hint=lost.hint)


def is_mutation(operation: str) -> bool:
    """Does this API operation change anything? Judged by its name, as AWS's own are regular."""
    return not operation.startswith(READS)


def is_absent(error: BaseException) -> bool:
    """Does this error say that the thing is not there?"""
    code = error_code(error)
    return code in ABSENT or (code == "ValidationException" and any(part in str(error) for part in ABSENT_MESSAGES))


def absent_ok(call: Callable[..., T], **arguments: Any) -> T | None:
    """The call's answer, or None where the thing is not there."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if is_absent(error):
            return None
        raise


def together(*calls: Callable[[], Any]) -> list[Any]:
    """The answers of all calls, in order, made at the same time. Raises the first error."""
    return [answer.result() for answer in at_once(dict(enumerate(calls))).values()]


def is_propagating(error: BaseException) -> bool:
    """Is this a refusal that passes by itself once AWS has caught up with itself?"""
    code, message = error_code(error), str(error)
    return any(code == known and part in message for known, part in PROPAGATING)
