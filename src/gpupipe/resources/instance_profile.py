"""Instance profile: how a machine takes on its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
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
from gpupipe.resources.role import NOT_YET, NOT_YET_S, Role


@dataclass(frozen=True, kw_only=True)
class InstanceProfile(Resource):
    """A profile below `/gpupipe/<stack>/` that holds one role."""

    kind: ClassVar[str] = "instance profile"
    phase: ClassVar[Phase] = Phase.NETWORK

    role: Role

    @property
    def arn(self) -> str:
        return self.stack.arn("iam", f"instance-profile{self.stack.iam_path}{self.name}", regional=False)

    def requires(self) -> tuple[Resource, ...]:
        return (self.role,)

    def desired(self) -> Fields:
        return {"tags": iam_tags(self), "role": self.role.name}

    def observe(self, aws: Aws) -> Observed | None:
        profile = self._read(aws)
        if profile is None:
            return None
        tags = tag_map(profile.get("Tags"))
        return Observed(
            owner=iam_owner(tags, self.stack),
            fields={
                "tags": {key: value for key, value in tags.items() if key in iam_tags(self)},
                "role": _role_in(profile),
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        aws.client("iam").create_instance_profile(
            InstanceProfileName=self.name, Path=self.stack.iam_path, Tags=tag_list(iam_tags(self))
        )
        self._put_role(aws, before="")

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        observed = ours(self, aws)
        iam = aws.client("iam")
        if "tags" in changed:
            iam.tag_instance_profile(InstanceProfileName=self.name, Tags=tag_list(iam_tags(self)))
        if "role" in changed:
            self._put_role(aws, before=observed.fields["role"] if observed else "")

    def delete(self, aws: Aws) -> None:
        observed = ours(self, aws)
        if observed is None:
            return
        iam, profile = aws.client("iam"), {"InstanceProfileName": self.name}
        if observed.fields["role"]:
            absent_ok(iam.remove_role_from_instance_profile, RoleName=observed.fields["role"], **profile)
        absent_ok(iam.delete_instance_profile, **profile)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        stack = aws.stack
        pages = aws.client("iam").get_paginator("list_instance_profiles").paginate(PathPrefix=stack.iam_path)
        role = Role(stack=stack, name="", service="", statements=())
        for name in [one["InstanceProfileName"] for page in pages for one in page["InstanceProfiles"]]:
            # Read one by one: the list leaves the tags out.
            tags = tag_map((cls(stack=stack, name=name, role=role)._read(aws) or {}).get("Tags"))
            if iam_owner(tags, stack) == stack.id:
                yield found(cls(stack=stack, name=name, pipeline=pipeline_of(tags), role=role), tags)

    def _read(self, aws: Aws) -> dict[str, Any] | None:
        answer = absent_ok(aws.client("iam").get_instance_profile, InstanceProfileName=self.name)
        return answer["InstanceProfile"] if answer else None

    def _put_role(self, aws: Aws, *, before: str) -> None:
        iam = aws.client("iam")
        if before:  # it holds no more than one
            absent_ok(iam.remove_role_from_instance_profile, InstanceProfileName=self.name, RoleName=before)
        aws.retried(
            iam.add_role_to_instance_profile,
            codes=NOT_YET,
            within_s=NOT_YET_S,
            InstanceProfileName=self.name,
            RoleName=self.role.name,
        )


def _role_in(profile: dict[str, Any]) -> str:
    return next((str(role["RoleName"]) for role in profile["Roles"]), "")
