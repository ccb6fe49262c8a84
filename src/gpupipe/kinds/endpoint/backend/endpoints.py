"""SageMaker's endpoint as the guard handles it: described, scaled, and its own scaling suspended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import Refusal
from gpupipe.functions.context import Context
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.kinds.endpoint.backend.view import Endpoint, Variant
from gpuworker.contract import error_code, error_message

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NOT_NOW = "Cannot update in-progress endpoint"
"""A change of one variant keeps SageMaker from another for minutes; the next look tries again."""
QUOTA_CODES = frozenset({"ResourceLimitExceeded", "ResourceLimitExceededException"})


# --- what there is ---


def endpoint(ctx: Context[EndpointSettings]) -> Endpoint | None:
    """As SageMaker describes it; None where there is none."""
    try:
        told = ctx.client("sagemaker").describe_endpoint(EndpointName=ctx.settings.endpoint)
    except Exception as error:
        if "Could not find" not in str(error):
            raise
        return None
    return Endpoint(
        name=told["EndpointName"],
        status=told["EndpointStatus"],
        failure=told.get("FailureReason", ""),
        config=told.get("EndpointConfigName", ""),
        created_at=told["CreationTime"].timestamp(),
        changed_at=told["LastModifiedTime"].timestamp(),
        variants=tuple(_variant(one, ctx.settings.variants) for one in told.get("ProductionVariants", ())),
    )


def _variant(told: Mapping[str, Any], preferred: Mapping[str, str]) -> Variant:
    name, current = told["VariantName"], int(told.get("CurrentInstanceCount") or 0)
    pools = [
        (pool["InstanceType"], int(pool.get("CurrentInstanceCount") or 0)) for pool in told.get("InstancePools", ())
    ]
    by_pool = [instance_type for instance_type, count in pools for _ in range(count)]
    usual = preferred.get(name, "")
    return Variant(
        name=name,
        instance_type=usual,
        instance_types=tuple([*by_pool, *[usual] * current][:current]),
        desired=int(told.get("DesiredInstanceCount") or 0),
        weight=float(told.get("CurrentWeight") or 0.0),
        message="; ".join(
            one.get("StatusMessage", "") for one in told.get("VariantStatus", ()) if one.get("StatusMessage")
        ),
    )


def suspended(ctx: Context[EndpointSettings]) -> dict[str, bool]:
    """Of the variants that Application Auto Scaling scales: may it add no instances now?"""
    by_resource = {_resource(ctx, variant): variant for variant in ctx.settings.variants}
    answer = ctx.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=list(by_resource), ScalableDimension=DIMENSION
    )
    return {
        by_resource[target["ResourceId"]]: bool(target.get("SuspendedState", {}).get("DynamicScalingOutSuspended"))
        for target in answer["ScalableTargets"]
    }


def _resource(ctx: Context[EndpointSettings], variant: str) -> str:
    return f"endpoint/{ctx.settings.endpoint}/variant/{variant}"


# --- changing it ---


def suspend(ctx: Context[EndpointSettings], variant: str, suspended: bool) -> None:
    """Forbid or allow that instances are added; taking them away is always allowed."""
    least = {"MinCapacity": 0 if suspended else ctx.settings.min_instances} if ctx.settings.min_instances else {}
    ctx.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=_resource(ctx, variant),
        ScalableDimension=DIMENSION,
        **least,
        SuspendedState={
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": suspended,
            "ScheduledScalingSuspended": suspended,
        },
    )
    log.info("scaling_suspended" if suspended else "scaling_resumed", variant=variant)


def scale(ctx: Context[EndpointSettings], variant: str, count: int) -> Refusal | None:
    """Ask for so many instances of a variant; what SageMaker says where it refuses."""
    try:
        ctx.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=ctx.settings.endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": count}],
        )
    except Exception as error:
        code = error_code(error)
        if not code:
            raise
        if NOT_NOW in str(error):
            log.info("endpoint_busy", variant=variant, wanted=count)
            return None
        instance_type = ctx.settings.variants.get(variant, variant)
        return Refusal(instance_type=instance_type, zone="", code=code, message=error_message(error), at=ctx.clock())
    return None


def waiting_for(refusal: Refusal) -> tuple[str, str]:
    """Why no instance came, as (code, plain words)."""
    if refusal.code in QUOTA_CODES:
        return "quota", (
            f"The account's limit of {refusal.instance_type} instances for endpoints is reached: ask for more of "
            f'"{refusal.instance_type} for endpoint usage" in the Service Quotas console (Amazon SageMaker); '
            "until then it is tried again every minute."
        )
    return "error", f"SageMaker refused to scale the endpoint: {refusal.code}: {refusal.message}"
