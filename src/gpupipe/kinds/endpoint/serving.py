"""The endpoint itself: a model a variant, their configuration, the endpoint that runs it, and where it logs."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.kinds.endpoint.parts import Parts
from gpupipe.kinds.endpoint.roles import container_role
from gpupipe.kinds.endpoint.settings import Variant as VariantSettings
from gpupipe.resources import Resource
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.endpoint_config import Async, EndpointConfig, Variant
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.model import Model
from gpupipe.resources.role import Role
from gpuworker import contract

METRICS = "AWS/SageMaker"
LOCAL_IMAGE = "gpupipe-worker:local"
"""What the emulated endpoint is said to run; the local target starts the package's own container entry."""
HUB_STARTUP_S = 1800
"""Weights of gigabytes come from a hub before the first answer to /ping."""
ALARM_MINUTES = 2
"""One failed request of one in a minute is no reason to go back."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The endpoint, and all that it needs with it."""

    endpoint: Endpoint
    all: tuple[Resource, ...]


def serving_of(parts: Parts) -> Serving:
    """Everything up to the endpoint."""
    stack, pipeline = parts.stack, parts.pipeline
    log = parts.log_group(stack.endpoint_log_group(pipeline))
    role = container_role(parts, log)
    variants = tuple(_variant(parts, one, role, log) for one in parts.settings.deployed)
    config = EndpointConfig(
        stack=stack,
        pipeline=pipeline,
        name=parts.endpoint_name,
        variants=variants,
        asynchronous=_asynchronous(parts),
    )
    alarms = tuple(_failing(parts, variant.name) for variant in variants if parts.settings.rollback.error_percent)
    endpoint = Endpoint(
        stack=stack,
        pipeline=pipeline,
        name=parts.endpoint_name,
        config=config,
        log_group=log,
        rollback_alarms=alarms,
        bake_s=parts.settings.rollback.minutes * 60,
    )
    models = tuple(variant.model for variant in variants)
    return Serving(endpoint=endpoint, all=(log, role, *models, config, *alarms, endpoint))


def _variant(parts: Parts, settings: VariantSettings, role: Role, log: LogGroup) -> Variant:
    model = Model(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.stack.part(parts.pipeline, settings.name),
        image=settings.image or LOCAL_IMAGE,
        role=role,
        environment=_worker_settings(parts, settings, log).to_environment(),
    )
    return Variant(
        name=settings.name,
        model=model,
        instance_types=settings.instance_types,
        initial_instances=max(1, parts.settings.compute.min_instances),  # SageMaker makes none without an instance
        weight=settings.weight,
        startup_timeout_s=HUB_STARTUP_S if parts.model.revision else Variant.startup_timeout_s,
    )


def _worker_settings(parts: Parts, variant: VariantSettings, log: LogGroup) -> contract.WorkerSettings:
    settings, stack = parts.settings, parts.stack
    return contract.WorkerSettings(
        stack=stack.id,
        pipeline=parts.pipeline,
        region=stack.region,
        account=stack.account,
        bucket=parts.bucket.name,
        queue_url="",
        table=parts.table.name,
        log_group=log.name,
        task=settings.task,
        task_options=variant.task_options,
        max_receives=settings.max_tries,
        item_timeout_s=min(settings.item_timeout_s, contract.ITEM_SHARE_OF_INVOCATION * settings.invocation_timeout_s),
        variant=variant.name,
        invocation_timeout_s=settings.invocation_timeout_s,
        max_concurrency=settings.compute.max_concurrency,
        model=parts.model,
    )


def _asynchronous(parts: Parts) -> Async | None:
    if parts.success is None or parts.error is None:
        return None
    return Async(
        output_path=f"s3://{parts.bucket.name}/{contract.RESPONSES}",
        failure_path=f"s3://{parts.bucket.name}/{contract.ERRORS}",
        success_topic=parts.success,
        error_topic=parts.error,
        max_concurrency=parts.settings.compute.max_concurrency,
    )


def _failing(parts: Parts, variant: str) -> MetricAlarm:
    """Looked at while a new deployment is watched. SageMaker sends 1 for a request that failed and 0 for one that did
    not, so that their average is the share."""
    percent = parts.settings.rollback.error_percent
    return MetricAlarm(
        stack=parts.stack,
        pipeline=parts.pipeline,
        name=parts.name(f"failing-{variant}"),
        namespace=METRICS,
        metric="Invocation5XXErrors",
        dimensions={"EndpointName": parts.endpoint_name, "VariantName": variant},
        threshold=percent / 100,
        statistic="Average",
        periods=ALARM_MINUTES,
        description=f"{percent:g} % of the requests to {parts.endpoint_name} ({variant}) fail: it goes back.",
    )
