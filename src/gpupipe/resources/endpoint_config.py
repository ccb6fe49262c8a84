"""SageMaker endpoint configuration: variants and how they are invoked. Immutable, so its content is in its name.

Weights and instance counts are no part of that content: they change while an endpoint runs (A/B weights by `up`,
counts by autoscaling), and must not start a deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, sagemaker
from gpupipe.resources.model import Model
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of, tag_list
from gpupipe.resources.topic import Topic


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model behind an endpoint, and what it runs on."""

    name: str
    model: Model
    instance_types: tuple[str, ...]
    """In the order of preference; more than one become instance pools, at most five."""
    initial_instances: int = 1
    """SageMaker starts no endpoint with none."""
    weight: float = 1.0
    """Its share of the requests, relative to the other variants'."""
    startup_timeout_s: int = 600
    """So long a container may take until it answers /ping; 60 to 3600."""
    provision_timeout_s: int = 1800
    """So long SageMaker looks for an instance; 300 to 3600."""

    @property
    def content(self) -> dict[str, Any]:
        """What makes it another variant."""
        return {
            "name": self.name,
            "model": self.model.aws_name,
            "instance_types": list(self.instance_types),
            "startup_timeout_s": self.startup_timeout_s,
            "provision_timeout_s": self.provision_timeout_s,
        }


@dataclass(frozen=True, kw_only=True)
class Async:
    """Invocations that are queued, and answered in S3."""

    output_path: str
    """`s3://BUCKET/responses/`."""
    failure_path: str
    success_topic: Topic
    error_topic: Topic
    max_concurrency: int = 4
    """So many requests at once an instance."""

    @property
    def content(self) -> dict[str, Any]:
        return {
            "output_path": self.output_path,
            "failure_path": self.failure_path,
            "success_topic": self.success_topic.arn,
            "error_topic": self.error_topic.arn,
            "max_concurrency": self.max_concurrency,
        }


@dataclass(frozen=True, kw_only=True)
class EndpointConfig(Resource):
    """What an endpoint is made of."""

    kind: ClassVar[str] = "endpoint config"
    phase: ClassVar[Phase] = Phase.NETWORK

    variants: tuple[Variant, ...]
    asynchronous: Async | None = None
    """None answers at once (realtime)."""
    exact_name: str = ""
    """The AWS name of one that was met in the account."""

    @property
    def aws_name(self) -> str:
        return self.exact_name or sagemaker.hashed_name(self.name, self._content)

    @property
    def arn(self) -> str:
        return sagemaker.arn(self.stack, "endpoint-config", self.aws_name)

    def requires(self) -> tuple[Resource, ...]:
        topics = (self.asynchronous.success_topic, self.asynchronous.error_topic) if self.asynchronous else ()
        return (*(variant.model for variant in self.variants), *topics)

    def desired(self) -> Fields:
        return {"tags": self.tags, **self._content}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: the tags come by a call of their own, which must not be made of what is not there."""
        answer = absent_ok(aws.client("sagemaker").describe_endpoint_config, EndpointConfigName=self.aws_name)
        if answer is None:
            return None
        tags = sagemaker.read_tags(aws, self.arn)
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={
                "tags": self.tags_of(tags),
                "variants": [_variant_fields(one) for one in answer["ProductionVariants"]],
                "asynchronous": _async_fields(answer.get("AsyncInferenceConfig")),
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        settings: dict[str, Any] = {}
        if self.asynchronous:
            settings["AsyncInferenceConfig"] = _async_document(self.asynchronous)
        aws.propagated(  # a model made just now may be unknown to the next call
            aws.client("sagemaker").create_endpoint_config,
            EndpointConfigName=self.aws_name,
            ProductionVariants=[_variant_document(variant) for variant in self.variants],
            Tags=tag_list(self.tags),
            **settings,
        )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        """Its tags; what else a configuration is cannot change under its name."""
        ours(self, aws)
        aws.client("sagemaker").add_tags(ResourceArn=self.arn, Tags=tag_list(self.tags))

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("sagemaker").delete_endpoint_config, EndpointConfigName=self.aws_name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        listed = sagemaker.stacks_own(aws, "list_endpoint_configs", "EndpointConfigs", "EndpointConfig")
        for aws_name, tags in listed:
            name = sagemaker.name_before_hash(aws.stack, tags)
            met = cls(stack=aws.stack, name=name, pipeline=pipeline_of(tags), variants=(), exact_name=aws_name)
            yield found(met, tags)

    @property
    def _content(self) -> dict[str, Any]:
        return {
            "variants": [variant.content for variant in self.variants],
            "asynchronous": self.asynchronous.content if self.asynchronous else {},
        }


def instance_types(variant: Mapping[str, Any]) -> list[str]:
    """The types of a variant as DescribeEndpointConfig tells it, in the order of preference."""
    pools = sorted(variant.get("InstancePools") or [], key=lambda pool: int(pool["Priority"]))
    return [pool["InstanceType"] for pool in pools] or [variant.get("InstanceType", "")]


def _variant_document(variant: Variant) -> dict[str, Any]:
    types = variant.instance_types
    pools = [{"InstanceType": one, "Priority": number} for number, one in enumerate(types, start=1)]
    return {
        "VariantName": variant.name,
        "ModelName": variant.model.aws_name,
        "InitialInstanceCount": variant.initial_instances,
        "InitialVariantWeight": variant.weight,
        "ContainerStartupHealthCheckTimeoutInSeconds": variant.startup_timeout_s,
        "VariantInstanceProvisionTimeoutInSeconds": variant.provision_timeout_s,
        **({"InstancePools": pools} if len(types) > 1 else {"InstanceType": types[0]}),
    }


def _variant_fields(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": variant["VariantName"],
        "model": variant["ModelName"],
        "instance_types": instance_types(variant),
        "startup_timeout_s": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", 0),
        "provision_timeout_s": variant.get("VariantInstanceProvisionTimeoutInSeconds", 0),
    }


def _async_document(settings: Async) -> dict[str, Any]:
    topics = {"SuccessTopic": settings.success_topic.arn, "ErrorTopic": settings.error_topic.arn}
    return {
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": settings.max_concurrency},
        "OutputConfig": {
            "S3OutputPath": settings.output_path,
            "S3FailurePath": settings.failure_path,
            "NotificationConfig": topics,
        },
    }


def _async_fields(document: Mapping[str, Any] | None) -> dict[str, Any]:
    if not document:
        return {}
    output = document.get("OutputConfig", {})
    topics = output.get("NotificationConfig", {})
    return {
        "output_path": output.get("S3OutputPath", ""),
        "failure_path": output.get("S3FailurePath", ""),
        "success_topic": topics.get("SuccessTopic", ""),
        "error_topic": topics.get("ErrorTopic", ""),
        "max_concurrency": document.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 0),
    }
