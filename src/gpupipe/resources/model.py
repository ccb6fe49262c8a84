"""SageMaker model: a container image with its environment and role. Immutable, so its content is in its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, sagemaker
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of, tag_list
from gpupipe.resources.role import Role


@dataclass(frozen=True, kw_only=True)
class Model(Resource):
    """A model of one container."""

    kind: ClassVar[str] = "model"
    phase: ClassVar[Phase] = Phase.ROLES
    """After the configurations that name it, and before the role that it names."""

    image: str
    """URI in ECR: `123456789012.dkr.ecr.us-east-1.amazonaws.com/rooms:1a2b3c4d`."""
    role: Role
    """Taken on by SageMaker, and by what runs in the container: `service="sagemaker.amazonaws.com"`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """At most 100 variables of 1,024 characters each."""
    exact_name: str = ""
    """The AWS name of one that was met in the account."""

    @property
    def aws_name(self) -> str:
        return self.exact_name or sagemaker.hashed_name(self.name, self._content)

    @property
    def arn(self) -> str:
        return sagemaker.arn(self.stack, "model", self.aws_name)

    def requires(self) -> tuple[Resource, ...]:
        return (self.role,)

    def desired(self) -> Fields:
        return {"tags": self.tags, **self._content}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: the tags come by a call of their own, which must not be made of what is not there."""
        answer = absent_ok(aws.client("sagemaker").describe_model, ModelName=self.aws_name)
        if answer is None:
            return None
        tags, container = sagemaker.read_tags(aws, self.arn), answer.get("PrimaryContainer", {})
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={
                "tags": self.tags_of(tags),
                "image": container.get("Image", ""),
                "role": answer.get("ExecutionRoleArn", ""),
                "environment": container.get("Environment", {}),
            },
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            aws.propagated(
                aws.client("sagemaker").create_model,
                ModelName=self.aws_name,
                PrimaryContainer={"Image": self.image, "Environment": dict(self.environment)},
                ExecutionRoleArn=self.role.arn,
                Tags=tag_list(self.tags),
            )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        """Its tags; what else a model is cannot change under its name."""
        ours(self, aws)
        aws.client("sagemaker").add_tags(ResourceArn=self.arn, Tags=tag_list(self.tags))

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("sagemaker").delete_model, ModelName=self.aws_name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        stack = aws.stack
        role = Role(stack=stack, name="", service="", statements=())
        for aws_name, tags in sagemaker.stacks_own(aws, "list_models", "Models", "Model"):
            name = sagemaker.name_before_hash(stack, tags)
            met = cls(stack=stack, name=name, pipeline=pipeline_of(tags), image="", role=role, exact_name=aws_name)
            yield found(met, tags)

    @property
    def _content(self) -> dict[str, Any]:
        return {"image": self.image, "role": self.role.arn, "environment": dict(self.environment)}
