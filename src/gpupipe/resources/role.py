"""IAM role: what one service may do for us, in one inline policy of exact actions and resources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, policy
from gpupipe.resources.ownership import (
    adopted,
    found,
    iam_owner,
    iam_tags,
    ours,
    pipeline_of,
    tag_list,
    tag_map,
)

INLINE_POLICY = "gpupipe"
# IAM is eventually consistent: a role made just now may be unknown to the next call.
NOT_YET = ("NoSuchEntity",)
NOT_YET_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What may be done to which resources; `conditions` is operator -> key -> value(s)."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, str | list[str]]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The statement as IAM takes it."""
        conditions = {"Condition": {operator: dict(tests) for operator, tests in self.conditions.items()}}
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
            **(conditions if self.conditions else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Role(Resource):
    """A role below `/gpupipe/<stack>/`."""

    kind: ClassVar[str] = "role"
    phase: ClassVar[Phase] = Phase.ROLES

    service: str
    """Who may take it on: `lambda.amazonaws.com`."""
    statements: tuple[Statement, ...]
    source_arn: str = ""
    """Only on behalf of this account and resource, where the service says for whom it acts (Scheduler does)."""
    managed: tuple[str, ...] = ()
    """ARNs of managed policies to attach."""

    @property
    def arn(self) -> str:
        return self.stack.arn("iam", f"role{self.stack.iam_path}{self.name}", regional=False)

    def desired(self) -> Fields:
        return {
            "tags": iam_tags(self),
            "trust": policy.canonical(self._trust),
            "policy": policy.canonical(self._policy),
            "managed": sorted(self.managed),
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads at once, three with managed policies: the role does not carry its policies."""
        iam = aws.client("iam")
        answer, inline, attached = together(
            partial(absent_ok, iam.get_role, RoleName=self.name),
            partial(absent_ok, iam.get_role_policy, RoleName=self.name, PolicyName=INLINE_POLICY),
            partial(absent_ok, self._attached, iam=iam) if self.managed else list,
        )
        if answer is None:
            return None
        tags = tag_map(answer["Role"].get("Tags"))
        return Observed(
            owner=iam_owner(tags, self.stack),
            fields={
                "tags": {key: value for key, value in tags.items() if key in iam_tags(self)},
                "trust": policy.canonical(answer["Role"]["AssumeRolePolicyDocument"]),
                "policy": policy.canonical((inline or {}).get("PolicyDocument")),
                "managed": sorted(set(attached or ()) & set(self.managed)),
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        aws.propagated(
            aws.client("iam").create_role,
            RoleName=self.name,
            Path=self.stack.iam_path,
            AssumeRolePolicyDocument=json.dumps(self._trust),
            Description=f"gpupipe {self.stack.id}",
            Tags=tag_list(iam_tags(self)),
        )
        self._change(aws, frozenset({"policy", "managed"}))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        self._change(aws, changed)

    def delete(self, aws: Aws) -> None:
        """With everything that hangs on it, whoever hung it there: IAM deletes only a bare role."""
        if ours(self, aws) is None:
            return
        iam, role = aws.client("iam"), {"RoleName": self.name}
        for profile in self._profiles(iam):
            absent_ok(iam.remove_role_from_instance_profile, InstanceProfileName=profile, **role)
        for arn in self._attached(iam=iam):
            absent_ok(iam.detach_role_policy, PolicyArn=arn, **role)
        for name in self._inline(iam):
            absent_ok(iam.delete_role_policy, PolicyName=name, **role)
        absent_ok(partial(aws.retried, iam.delete_role, codes=("DeleteConflict",), within_s=30.0), **role)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        iam, stack = aws.client("iam"), aws.stack
        pages = iam.get_paginator("list_roles").paginate(PathPrefix=stack.iam_path)
        names = [role["RoleName"] for page in pages for role in page["Roles"]]
        reads = (partial(absent_ok, iam.list_role_tags, RoleName=name) for name in names)
        for name, answer in zip(names, together(*reads), strict=True):
            tags = tag_map((answer or {}).get("Tags"))
            if iam_owner(tags, stack) == stack.id:
                role = cls(stack=stack, name=name, pipeline=pipeline_of(tags), service="", statements=())
                yield found(role, tags)

    @property
    def _trust(self) -> policy.Document:
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Principal": {"Service": self.service},
            "Action": "sts:AssumeRole",
        }
        if self.source_arn:
            statement["Condition"] = {
                "StringEquals": {"aws:SourceAccount": self.stack.account},
                "ArnLike": {"aws:SourceArn": self.source_arn},
            }
        return policy.document([statement])

    @property
    def _policy(self) -> policy.Document:
        return policy.document([statement.document() for statement in self.statements]) if self.statements else {}

    def _change(self, aws: Aws, changed: frozenset[str]) -> None:
        iam, role = aws.client("iam"), {"RoleName": self.name}
        if "tags" in changed:
            iam.tag_role(Tags=tag_list(iam_tags(self)), **role)
        if "trust" in changed:
            document = json.dumps(self._trust)
            aws.propagated(iam.update_assume_role_policy, PolicyDocument=document, RoleName=self.name)
        if "policy" in changed and self._policy:
            aws.retried(
                iam.put_role_policy,
                codes=NOT_YET,
                within_s=NOT_YET_S,
                RoleName=self.name,
                PolicyName=INLINE_POLICY,
                PolicyDocument=json.dumps(self._policy),
            )
        elif "policy" in changed:
            absent_ok(iam.delete_role_policy, PolicyName=INLINE_POLICY, **role)
        if "managed" in changed:
            for arn in self.managed:
                iam.attach_role_policy(PolicyArn=arn, **role)

    def _profiles(self, iam: Any) -> list[str]:
        pages = iam.get_paginator("list_instance_profiles_for_role").paginate(RoleName=self.name)
        return [profile["InstanceProfileName"] for page in pages for profile in page["InstanceProfiles"]]

    def _attached(self, *, iam: Any) -> list[str]:
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=self.name)
        return [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]

    def _inline(self, iam: Any) -> list[str]:
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=self.name)
        return [name for page in pages for name in page["PolicyNames"]]
