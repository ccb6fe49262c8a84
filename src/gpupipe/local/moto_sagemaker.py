"""What moto 5.2 lacks of SageMaker endpoints and their autoscaling, mended inside the emulator's process.

Each mend is named by `install`; `tests/local/test_moto_sagemaker.py` holds a test a mend that fails once moto does it
by itself. One thing is no mend: with GPUPIPE_HOSTED_ENDPOINTS=1 in its environment an endpoint stays Creating or
Updating until whoever runs its containers reports (`SageMaker.ReportEndpoint`), instead of being InService at once.
"""

from __future__ import annotations

import json
import os
from typing import Any

HOSTED = "GPUPIPE_HOSTED_ENDPOINTS"
IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
DIMENSION = "sagemaker:variant:DesiredInstanceCount"


def install() -> None:
    """Mend moto in place; called before it serves. Doing it twice changes nothing."""
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
    from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, SageMakerModelBackend
    from moto.sagemaker.responses import SageMakerResponse

    if hasattr(SageMakerResponse, "report_endpoint"):
        return
    FakeEndpointConfig.validate_production_variants = _take_any_instance_type
    SageMakerModelBackend.create_endpoint = _creating(SageMakerModelBackend.create_endpoint)
    SageMakerModelBackend.update_endpoint_weights_and_capacities = _update_weights_and_capacities
    SageMakerModelBackend.delete_endpoint = _deleting(SageMakerModelBackend.delete_endpoint)
    SageMakerModelBackend.add_tags = _add_tags
    FakeEndpoint._process_production_variants = lambda self, variants: [_variant(one) for one in variants]
    SageMakerResponse.update_endpoint = _update_endpoint
    SageMakerResponse.report_endpoint = _report_endpoint
    SageMakerResponse.parse_parameters = _parsing(SageMakerResponse.parse_parameters)
    backend = ApplicationAutoscalingBackend
    backend.deregister_scalable_target = _deregistering(backend.deregister_scalable_target)
    backend.put_scaling_policy = _putting_policy(backend.put_scaling_policy)


def is_hosted() -> bool:
    """Do containers stand behind the endpoints, whose state is reported?"""
    return os.environ.get(HOSTED) == "1"


# --- endpoints ----------------------------------------------------------------------------------------------


def _take_any_instance_type(self: Any, production_variants: list[dict[str, Any]]) -> None:
    """CreateEndpointConfig: any ml.* type, and InstancePools; moto knows the types of 2020 and no pools."""
    for variant in production_variants:
        types = [pool.get("InstanceType", "") for pool in variant.get("InstancePools") or [variant]]
        if "ServerlessConfig" in variant:
            self.validate_serverless_config(variant["ServerlessConfig"])
        elif not all(one.startswith("ml.") for one in types):
            raise _invalid(f"Value '{types}' at 'instanceType' failed to satisfy constraint: ml.<family>.<size>")


def _variant(config: dict[str, Any]) -> dict[str, Any]:
    """What DescribeEndpoint tells of a variant; with weight 0 and instance pools, which moto leaves out."""
    count, weight = config.get("InitialInstanceCount", 1), config.get("InitialVariantWeight", 1.0)
    serverless = config.get("ServerlessConfig")
    found = {
        "VariantName": config["VariantName"],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": 0 if is_hosted() else count,
        "DesiredInstanceCount": count,
        "CurrentServerlessConfig": serverless,
        "DesiredServerlessConfig": serverless,
    }
    if pools := config.get("InstancePools"):
        found["InstancePools"] = [
            {"InstanceType": pool["InstanceType"], "CurrentInstanceCount": 0} for pool in _by_priority(pools)
        ]
        _fill_pools(found)
    return {name: value for name, value in found.items() if value is not None}


def _by_priority(pools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(pools, key=lambda pool: int(pool["Priority"]))


def _fill_pools(variant: dict[str, Any]) -> None:
    """Capacity is never short here, so all instances are of the first type."""
    for number, pool in enumerate(variant.get("InstancePools", [])):
        pool["CurrentInstanceCount"] = 0 if number else variant["CurrentInstanceCount"]


def _creating(original: Any) -> Any:
    def create_endpoint(self: Any, endpoint_name: str, endpoint_config_name: str, tags: Any) -> Any:
        """CreateEndpoint: refuses a name that is taken (moto replaces), keeps AsyncInferenceConfig, is Creating."""
        if endpoint_name in self.endpoints:
            raise _invalid(f'Cannot create already existing endpoint "{self.endpoints[endpoint_name].arn}".')
        endpoint = original(self, endpoint_name=endpoint_name, endpoint_config_name=endpoint_config_name, tags=tags)
        endpoint.async_inference_config = self.endpoint_configs[endpoint_config_name].async_inference_config
        endpoint.endpoint_status = "Creating" if is_hosted() else "InService"
        return endpoint

    return create_endpoint


def _update_endpoint(self: Any) -> Any:
    """UpdateEndpoint, which moto does not have: blue/green to another configuration."""
    from moto.core.responses import ActionResult

    backend = self.sagemaker_backend
    endpoint = _settled(backend, self._get_param("EndpointName"))
    name = self._get_param("EndpointConfigName")
    backend.describe_endpoint_config(name)  # refuses one that is not there
    wanted = backend.endpoint_configs[name]
    if bool(wanted.async_inference_config) != bool(endpoint.async_inference_config):
        raise _invalid(f"The AsyncInferenceConfig parameter cannot be added to or removed from {endpoint.arn}.")
    _refuse_where_scaled(backend, endpoint, wanted)
    excluded = {one["VariantPropertyType"] for one in self._get_param("ExcludeRetainedVariantProperties") or []}
    retained = {"DesiredInstanceCount", "DesiredWeight"} - excluded
    variants = [_variant(one) for one in wanted.production_variants]
    if self._get_param("RetainAllVariantProperties"):
        _retain(variants, endpoint.production_variants, retained)
    endpoint.deployment_config = self._get_param("DeploymentConfig")
    if is_hosted():
        endpoint.endpoint_status = "Updating"
        endpoint.pending_deployment_summary = {"EndpointConfigName": name, "ProductionVariants": variants}
    else:
        _switch(endpoint, name, variants)
    return ActionResult({"EndpointArn": endpoint.arn})


def _settled(backend: Any, name: str) -> Any:
    backend.describe_endpoint(name)  # refuses one that is not there
    endpoint = backend.endpoints[name]
    if endpoint.endpoint_status in IN_PROGRESS:
        raise _invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    return endpoint


def _refuse_where_scaled(backend: Any, endpoint: Any, wanted: Any) -> None:
    """A variant that is scaled may neither change its instance type nor go.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    old = backend.endpoint_configs.get(endpoint.endpoint_config_name)
    before = {one["VariantName"]: _types(one) for one in old.production_variants} if old else {}
    after = {one["VariantName"]: _types(one) for one in wanted.production_variants}
    targets = _autoscaling(backend).targets.get(DIMENSION, {})
    for variant, types in before.items():
        if _resource_id(endpoint.endpoint_name, variant) in targets and after.get(variant) != types:
            raise _invalid(
                f"Cannot update endpoint {endpoint.arn}: variant {variant} is registered as a scalable target. "
                "Deregister it from automatic scaling first."
            )


def _types(variant: dict[str, Any]) -> list[str]:
    return [pool["InstanceType"] for pool in _by_priority(variant.get("InstancePools") or [])] or [
        variant.get("InstanceType", "")
    ]


def _retain(variants: list[dict[str, Any]], before: list[dict[str, Any]], properties: set[str]) -> None:
    known = {one["VariantName"]: one for one in before}
    for variant in variants:
        old = known.get(variant["VariantName"], {})
        variant.update({name: old[name] for name in properties & old.keys()})
        if not is_hosted():
            variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"]
        variant["CurrentWeight"] = variant["DesiredWeight"]
        _fill_pools(variant)


def _switch(endpoint: Any, config_name: str, variants: list[dict[str, Any]]) -> None:
    from moto.core.utils import utcnow

    endpoint.endpoint_config_name = config_name
    endpoint.production_variants = variants
    endpoint.pending_deployment_summary = None
    endpoint.endpoint_status = "InService"
    endpoint.failure_reason = None
    endpoint.last_modified_time = utcnow()


def _update_weights_and_capacities(
    self: Any, endpoint_name: str, desired_weights_and_capacities: list[dict[str, Any]]
) -> str:
    """UpdateEndpointWeightsAndCapacities: what is not named stays; moto forgets the count when it sets a weight."""
    endpoint = _settled(self, endpoint_name)
    known = {variant["VariantName"]: variant for variant in endpoint.production_variants}
    for wanted in desired_weights_and_capacities:
        if wanted["VariantName"] not in known:
            raise _invalid(f'The variant name(s) "{wanted["VariantName"]}" is/are not present within {endpoint.arn}.')
    for wanted in desired_weights_and_capacities:
        variant = known[wanted["VariantName"]]
        if (weight := wanted.get("DesiredWeight")) is not None:
            variant["CurrentWeight"] = variant["DesiredWeight"] = weight
        if (count := wanted.get("DesiredInstanceCount")) is not None:
            variant["DesiredInstanceCount"] = count
            if is_hosted() and count != variant["CurrentInstanceCount"]:
                endpoint.endpoint_status = "Updating"
            else:
                variant["CurrentInstanceCount"] = count
                _fill_pools(variant)
    return str(endpoint.arn)


def _deleting(original: Any) -> Any:
    def delete_endpoint(self: Any, endpoint_name: str) -> None:
        """DeleteEndpoint: not while it is being made or changed; takes the autoscaling of its variants with it."""
        endpoint = _settled(self, endpoint_name)
        autoscaling = _autoscaling(self)
        for variant in endpoint.production_variants:
            resource_id = _resource_id(endpoint_name, variant["VariantName"])
            if resource_id in autoscaling.targets.get(DIMENSION, {}):
                autoscaling.deregister_scalable_target("sagemaker", resource_id, DIMENSION)
        original(self, endpoint_name)

    return delete_endpoint


def _add_tags(self: Any, arn: str, tags: list[dict[str, str]]) -> list[dict[str, str]]:
    """AddTags: a key that is there gets the new value; moto keeps both."""
    resource = self._get_resource_from_arn(arn)
    merged = {tag["Key"]: tag["Value"] for tag in [*resource.tags, *tags]}
    resource.tags = [{"Key": key, "Value": value} for key, value in merged.items()]
    found: list[dict[str, str]] = resource.tags
    return found


# --- what the containers' host reports ----------------------------------------------------------------------


def _parsing(original: Any) -> Any:
    def parse_parameters(self: Any, request: Any) -> None:
        """ReportEndpoint is no operation of SageMaker's, so its parameters are in no service model."""
        if self._get_action() == "ReportEndpoint":
            self.params = json.loads(request.data or b"{}")
        else:
            original(self, request)

    return parse_parameters


def _report_endpoint(self: Any) -> str:
    """ReportEndpoint: the state of an endpoint as its host sees it, all that is named; answers `{}`.

    {EndpointName, EndpointStatus?, FailureReason?, EndpointConfigName? (what is live now),
    Variants?: [{VariantName, CurrentInstanceCount?, DesiredInstanceCount?}]}
    """
    report = self.params
    backend = self.sagemaker_backend
    backend.describe_endpoint(report["EndpointName"])  # refuses one that is not there
    endpoint = backend.endpoints[report["EndpointName"]]
    pending = getattr(endpoint, "pending_deployment_summary", None)
    live = report.get("EndpointConfigName")
    if pending and live == pending["EndpointConfigName"]:
        _switch(endpoint, live, pending["ProductionVariants"])
    status = report.get("EndpointStatus", endpoint.endpoint_status)
    if status not in IN_PROGRESS:
        endpoint.pending_deployment_summary = None
    endpoint.endpoint_status = status
    if "FailureReason" in report:
        endpoint.failure_reason = report["FailureReason"] or None
    for variant in endpoint.production_variants:
        _take_counts(variant, report.get("Variants", []))
    return "{}"


def _take_counts(variant: dict[str, Any], reported: list[dict[str, Any]]) -> None:
    for one in reported:
        if one["VariantName"] == variant["VariantName"]:
            names = ("CurrentInstanceCount", "DesiredInstanceCount")
            variant.update({name: one[name] for name in names if name in one})
            _fill_pools(variant)


# --- autoscaling --------------------------------------------------------------------------------------------


def _deregistering(original: Any) -> Any:
    def deregister_scalable_target(self: Any, namespace: str, r_id: str, dimension: str) -> None:
        """DeregisterScalableTarget: its policies and scheduled actions go with it; moto keeps them."""
        original(self, namespace, r_id, dimension)
        self.policies = {key: one for key, one in self.policies.items() if not _is_of(one, r_id, dimension)}
        self.scheduled_actions = [one for one in self.scheduled_actions if not _is_of(one, r_id, dimension)]

    return deregister_scalable_target


def _is_of(one: Any, resource_id: str, dimension: str) -> bool:
    return bool(one.resource_id == resource_id and one.scalable_dimension == dimension)


def _putting_policy(original: Any) -> Any:
    def put_scaling_policy(self: Any, *args: Any, **kwargs: Any) -> Any:
        """PutScalingPolicy: a policy keeps its ARN when it is changed; moto gives it another."""
        before = {key: policy.policy_arn for key, policy in self.policies.items()}
        policy = original(self, *args, **kwargs)
        key = policy.formulate_key(
            policy.service_namespace, policy.resource_id, policy.scalable_dimension, policy.policy_name
        )
        policy.policy_arn = before.get(key, policy.policy_arn)
        return policy

    return put_scaling_policy


def _autoscaling(backend: Any) -> Any:
    from moto.applicationautoscaling.models import applicationautoscaling_backends

    return applicationautoscaling_backends[backend.account_id][backend.region_name]


def _resource_id(endpoint: str, variant: str) -> str:
    return f"endpoint/{endpoint}/variant/{variant}"


def _invalid(message: str) -> Exception:
    from moto.sagemaker.exceptions import ValidationError

    error: Exception = ValidationError(message=message)
    return error
