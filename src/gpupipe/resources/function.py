"""Lambda function: code by its hash, configuration, and how often a failed asynchronous call is tried again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.errors import AwsError
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of
from gpupipe.resources.role import Role
from gpupipe.resources.waiting import until

SETTLE_S = 180.0
CONFIGURATION = frozenset({"handler", "runtime", "role", "environment", "timeout_s", "memory_mb"})


@dataclass(frozen=True, kw_only=True)
class Function(Resource):
    """A function of a zip of at most 50 MB. Its concurrency is left alone: new accounts may not reserve any."""

    kind: ClassVar[str] = "function"
    phase: ClassVar[Phase] = Phase.FUNCTIONS

    handler: str
    role: Role
    log_group: LogGroup
    code: bytes = field(repr=False)
    """The zip; equal sources must give equal bytes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: int = 60
    memory_mb: int = 256
    runtime: str = "python3.13"
    async_retries: int | None = None
    """Tries again after a failed asynchronous call; None leaves AWS's two."""
    configuration_first: bool = False
    """Of an update of both: is the present code better off with the new configuration, or the new code with the old?"""
    async_max_age_s: int = 60
    """An asynchronous call that waited longer than this is dropped."""

    @property
    def arn(self) -> str:
        return self.stack.arn("lambda", f"function:{self.name}")

    def requires(self) -> tuple[Resource, ...]:
        return (self.role, self.log_group)

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "code_sha256": base64.b64encode(hashlib.sha256(self.code).digest()).decode(),
            "handler": self.handler,
            "runtime": self.runtime,
            "role": self.role.arn,
            "environment": dict(self.environment),
            "timeout_s": self.timeout_s,
            "memory_mb": self.memory_mb,
            **({} if self.async_retries is None else {"asynchronous": self._asynchronous}),
        }

    def observe(self, aws: Aws) -> Observed | None:
        """One read, and another where asynchronous calls are set up."""
        client = aws.client("lambda")
        answer, asynchronous = together(
            partial(absent_ok, client.get_function, FunctionName=self.name),
            dict if self.async_retries is None else partial(self._read_asynchronous, client),
        )
        if answer is None:
            return None
        tags, configuration = answer.get("Tags", {}), answer["Configuration"]
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            note=_trouble(configuration),
            fields={
                "tags": self.tags_of(tags),
                **_fields(configuration),
                **({} if self.async_retries is None else {"asynchronous": asynchronous}),
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        aws.propagated(
            aws.client("lambda").create_function,
            FunctionName=self.name,
            Code={"ZipFile": self.code},
            Tags=self.tags,
            **self._configuration,
        )
        self._wait_taken(aws)
        self._put_asynchronous(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        client = aws.client("lambda")
        self._wait_settled(aws)
        updates = [self._update_code] * ("code_sha256" in changed)
        updates += [self._update_configuration] * bool(changed & CONFIGURATION)
        for update in reversed(updates) if self.configuration_first else updates:
            update(aws)
            self._wait_taken(aws)
        if "tags" in changed:
            client.tag_resource(Resource=self.arn, Tags=self.tags)
        if "asynchronous" in changed:
            self._put_asynchronous(aws)

    def _update_code(self, aws: Aws) -> None:
        aws.propagated(aws.client("lambda").update_function_code, FunctionName=self.name, ZipFile=self.code)

    def _update_configuration(self, aws: Aws) -> None:
        update = aws.client("lambda").update_function_configuration
        aws.propagated(update, FunctionName=self.name, **self._configuration)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(partial(aws.propagated, aws.client("lambda").delete_function), FunctionName=self.name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        client, stack = aws.client("lambda"), aws.stack
        pages = client.get_paginator("list_functions").paginate()
        names = [one["FunctionName"] for page in pages for one in page["Functions"]]
        names = [name for name in names if name.startswith(f"{stack.id}-")]
        arns = (stack.arn("lambda", f"function:{name}") for name in names)
        reads = (partial(absent_ok, client.list_tags, Resource=arn) for arn in arns)
        for name, answer in zip(names, together(*reads), strict=True):
            tags = (answer or {}).get("Tags", {})
            if is_stacks(tags, stack):
                yield found(cls.named(aws, name, pipeline=pipeline_of(tags)), tags)

    @classmethod
    def named(cls, aws: Aws, name: str, *, pipeline: str = "") -> Function:
        """The function of that name as something met in the account: enough to delete it."""
        stack = aws.stack
        role = Role(stack=stack, name="", service="", statements=())
        group = LogGroup(stack=stack, name=stack.function_log_group(name))
        return cls(stack=stack, name=name, pipeline=pipeline, handler="", role=role, log_group=group, code=b"")

    @property
    def _configuration(self) -> dict[str, Any]:
        return {
            "Handler": self.handler,
            "Runtime": self.runtime,
            "Role": self.role.arn,
            "Environment": {"Variables": dict(self.environment)},
            "Timeout": self.timeout_s,
            "MemorySize": self.memory_mb,
        }

    @property
    def _asynchronous(self) -> dict[str, Any]:
        return {"retries": self.async_retries, "max_age_s": self.async_max_age_s}

    def _read_asynchronous(self, client: Any) -> dict[str, Any]:
        answer = absent_ok(client.get_function_event_invoke_config, FunctionName=self.name)
        if answer is None:
            return {}
        return {"retries": answer.get("MaximumRetryAttempts"), "max_age_s": answer.get("MaximumEventAgeInSeconds")}

    def _put_asynchronous(self, aws: Aws) -> None:
        if self.async_retries is not None:
            aws.propagated(
                aws.client("lambda").put_function_event_invoke_config,
                FunctionName=self.name,
                MaximumRetryAttempts=self.async_retries,
                MaximumEventAgeInSeconds=self.async_max_age_s,
            )

    def _wait_taken(self, aws: Aws) -> None:
        """Until the change made just now has taken hold. Raises AwsError if it has not."""
        self._wait_settled(aws)
        trouble = _trouble(self._read(aws))
        if trouble:
            raise AwsError(f"function {self.name} does not start: {trouble}.", hint="Run the same command again.")

    def _wait_settled(self, aws: Aws) -> None:
        """Until no change is under way: before that Lambda refuses the next."""
        until(
            lambda: not _is_changing(self._read(aws)),
            clock=aws.clock,
            what=f"function {self.name}: ready",
            within_s=SETTLE_S,
        )

    def _read(self, aws: Aws) -> dict[str, Any]:
        return dict(aws.client("lambda").get_function_configuration(FunctionName=self.name))


def _fields(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code_sha256": configuration["CodeSha256"],
        "handler": configuration["Handler"],
        "runtime": configuration["Runtime"],
        "role": configuration["Role"],
        "environment": configuration.get("Environment", {}).get("Variables", {}),
        "timeout_s": configuration["Timeout"],
        "memory_mb": configuration["MemorySize"],
    }


def _is_changing(configuration: Mapping[str, Any]) -> bool:
    return configuration.get("State") == "Pending" or configuration.get("LastUpdateStatus") == "InProgress"


def _trouble(configuration: Mapping[str, Any]) -> str:
    if configuration.get("State") == "Failed":
        return str(configuration.get("StateReason") or "it failed")
    if configuration.get("LastUpdateStatus") == "Failed":
        return str(configuration.get("LastUpdateStatusReason") or "its last update failed")
    return ""
