"""What is mended of moto's SageMaker works, and is still broken without: once moto mends it, `LACKS` fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gpupipe.local import moto_sagemaker

REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/rooms/variant/main",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
ASYNC = {"OutputConfig": {"S3OutputPath": "s3://rooms/responses/"}}

Report = Callable[..., Any]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    moto_sagemaker.install()
    with mock_aws():
        yield


@pytest.fixture
def sagemaker(account: None) -> Any:
    """With a model and two configurations; no containers stand behind its endpoints."""
    client = boto3.client("sagemaker", region_name=REGION)
    configure(client)
    return client


@pytest.fixture
def scaling(account: None) -> Any:
    return boto3.client("application-autoscaling", region_name=REGION)


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something runs the containers, and reports."""
    monkeypatch.setenv(moto_sagemaker.HOSTED, "1")


@pytest.fixture
def report(account: None) -> Report:
    """What the host of the containers sends, over HTTP."""
    from moto.moto_server.werkzeug_app import create_backend_app

    client = create_backend_app("sagemaker").test_client()

    def send(**document: Any) -> Any:
        headers = {
            "X-Amz-Target": "SageMaker.ReportEndpoint",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=testing/20260101/{REGION}/sagemaker/aws4_request",
        }
        return client.post("/", data=json.dumps(document), headers=headers)

    return send


def configure(sagemaker: Any) -> None:
    sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": "rooms:1"}, ExecutionRoleArn=ROLE)
    for name, instance_type in (("small", "ml.m5.xlarge"), ("gpu", "ml.g5.xlarge")):
        variant = {"VariantName": "main", "ModelName": "m", "InstanceType": instance_type, "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], AsyncInferenceConfig=ASYNC
        )


def described(sagemaker: Any) -> dict[str, Any]:
    found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName="rooms")
    return found


def variant_of(sagemaker: Any) -> dict[str, Any]:
    (variant,) = described(sagemaker)["ProductionVariants"]
    found: dict[str, Any] = variant
    return found


def create(sagemaker: Any, config: str = "small") -> None:
    sagemaker.create_endpoint(EndpointName="rooms", EndpointConfigName=config)


def scale(scaling: Any) -> None:
    scaling.register_scalable_target(**TARGET, MinCapacity=0, MaxCapacity=2)
    scaling.put_scaling_policy(
        **TARGET,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 4.0},
    )


# --- endpoints ----------------------------------------------------------------------------------------------


def test_an_endpoint_is_updated_and_keeps_its_counts_where_asked(sagemaker: Any) -> None:
    create(sagemaker)
    counts = [{"VariantName": "main", "DesiredInstanceCount": 3}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="rooms", DesiredWeightsAndCapacities=counts)

    sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="gpu", RetainAllVariantProperties=True)
    assert described(sagemaker)["EndpointConfigName"] == "gpu"
    assert variant_of(sagemaker)["DesiredInstanceCount"] == 3

    sagemaker.update_endpoint(
        EndpointName="rooms",
        EndpointConfigName="small",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredInstanceCount"}],
    )
    assert variant_of(sagemaker)["CurrentInstanceCount"] == 1


def test_asynchronous_stays_asynchronous(sagemaker: Any) -> None:
    create(sagemaker)
    variant = {"VariantName": "main", "ModelName": "m", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="realtime", ProductionVariants=[variant])

    assert described(sagemaker)["AsyncInferenceConfig"] == ASYNC
    with pytest.raises(ClientError, match="AsyncInferenceConfig parameter cannot be"):
        sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="realtime")


def test_pools_are_filled_from_the_first(sagemaker: Any) -> None:
    pools = [{"InstanceType": "ml.g5.xlarge", "Priority": 2}, {"InstanceType": "ml.g6.xlarge", "Priority": 1}]
    variant = {"VariantName": "main", "ModelName": "m", "InstancePools": pools, "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName="pools", ProductionVariants=[variant])

    create(sagemaker, "pools")

    assert [
        (pool["InstanceType"], pool["CurrentInstanceCount"]) for pool in variant_of(sagemaker)["InstancePools"]
    ] == [
        ("ml.g6.xlarge", 2),
        ("ml.g5.xlarge", 0),
    ]


def test_a_type_of_another_service_is_refused(sagemaker: Any) -> None:
    variant = {"VariantName": "main", "ModelName": "m", "InstanceType": "g5.xlarge", "InitialInstanceCount": 1}

    with pytest.raises(ClientError, match="instanceType"):
        sagemaker.create_endpoint_config(EndpointConfigName="wrong", ProductionVariants=[variant])


def test_a_weight_alone_leaves_the_count(sagemaker: Any) -> None:
    create(sagemaker)

    weights = [{"VariantName": "main", "DesiredWeight": 0.0}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="rooms", DesiredWeightsAndCapacities=weights)

    found = variant_of(sagemaker)
    assert (found["CurrentWeight"], found["DesiredInstanceCount"], found["CurrentInstanceCount"]) == (0.0, 1, 1)


# --- reports ------------------------------------------------------------------------------------------------


def test_an_endpoint_with_containers_is_creating_until_they_answer(
    hosted: None, sagemaker: Any, report: Report
) -> None:
    create(sagemaker)
    assert described(sagemaker)["EndpointStatus"] == "Creating"
    assert variant_of(sagemaker)["CurrentInstanceCount"] == 0
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName="rooms")

    answer = report(
        EndpointName="rooms",
        EndpointStatus="InService",
        EndpointConfigName="small",
        Variants=[{"VariantName": "main", "CurrentInstanceCount": 1}],
    )

    assert (answer.status_code, answer.text) == (200, "{}")
    assert described(sagemaker)["EndpointStatus"] == "InService"
    assert variant_of(sagemaker)["CurrentInstanceCount"] == 1
    sagemaker.delete_endpoint(EndpointName="rooms")


def test_an_update_is_over_when_the_new_configuration_is_live(hosted: None, sagemaker: Any, report: Report) -> None:
    create(sagemaker)
    report(EndpointName="rooms", EndpointStatus="InService")

    sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="gpu")
    during = described(sagemaker)
    assert (during["EndpointStatus"], during["EndpointConfigName"]) == ("Updating", "small")
    assert during["PendingDeploymentSummary"]["EndpointConfigName"] == "gpu"
    report(EndpointName="rooms", EndpointStatus="InService", EndpointConfigName="gpu")

    after = described(sagemaker)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "gpu")
    assert "PendingDeploymentSummary" not in after


def test_an_update_that_is_rolled_back_tells_why(hosted: None, sagemaker: Any, report: Report) -> None:
    create(sagemaker)
    report(EndpointName="rooms", EndpointStatus="InService")
    sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="gpu")

    report(EndpointName="rooms", EndpointStatus="InService", FailureReason="the container ended with code 1")

    after = described(sagemaker)
    assert (after["EndpointConfigName"], after["FailureReason"]) == ("small", "the container ended with code 1")
    assert "PendingDeploymentSummary" not in after


def test_scaling_is_over_when_the_count_is_there(hosted: None, sagemaker: Any, report: Report) -> None:
    create(sagemaker)
    report(EndpointName="rooms", EndpointStatus="InService")
    counts = [{"VariantName": "main", "DesiredInstanceCount": 2}]

    sagemaker.update_endpoint_weights_and_capacities(EndpointName="rooms", DesiredWeightsAndCapacities=counts)
    assert described(sagemaker)["EndpointStatus"] == "Updating"
    reached = [{"VariantName": "main", "CurrentInstanceCount": 2}]
    report(EndpointName="rooms", EndpointStatus="InService", Variants=reached)

    assert (variant_of(sagemaker)["CurrentInstanceCount"], variant_of(sagemaker)["DesiredInstanceCount"]) == (2, 2)


def test_a_report_on_what_is_gone_is_refused(report: Report) -> None:
    answer = report(EndpointName="rooms", EndpointStatus="InService")

    assert answer.status_code == 400
    assert "Could not find endpoint" in answer.text


# --- autoscaling --------------------------------------------------------------------------------------------


def test_what_is_scaled_keeps_its_instance_type(sagemaker: Any, scaling: Any) -> None:
    create(sagemaker)
    scale(scaling)

    with pytest.raises(ClientError, match="registered as a scalable target"):
        sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="gpu")
    scaling.deregister_scalable_target(**TARGET)
    sagemaker.update_endpoint(EndpointName="rooms", EndpointConfigName="gpu")

    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []


def test_a_deleted_endpoint_is_not_scaled(sagemaker: Any, scaling: Any) -> None:
    create(sagemaker)
    scale(scaling)

    sagemaker.delete_endpoint(EndpointName="rooms")

    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_a_changed_policy_keeps_its_arn(sagemaker: Any, scaling: Any) -> None:
    scale(scaling)
    (before,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]

    scale(scaling)

    (after,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert after["PolicyARN"] == before["PolicyARN"]


# --- moto as it comes ---------------------------------------------------------------------------------------

LACKS = {
    "update_endpoint",
    "new instance types",
    "instance pools",
    "async config",
    "weight leaves count",
    "taken name",
    "tags replace",
    "deregistering",
    "policy arn",
    "deletion deregisters",
}
_AS_IT_COMES = """
import boto3, json
from moto import mock_aws
from tests.local.test_moto_sagemaker import ASYNC, ROLE, TARGET, described, scale, variant_of

lacks = set()

def has(name, check):
    with mock_aws():
        sagemaker = boto3.client("sagemaker", "us-east-1")
        scaling = boto3.client("application-autoscaling", "us-east-1")
        sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": "rooms:1"}, ExecutionRoleArn=ROLE)
        config = {"EndpointConfigName": "small", "AsyncInferenceConfig": ASYNC}
        variant = {"VariantName": "main", "ModelName": "m", "InitialInstanceCount": 1}
        small = {**variant, "InstanceType": "ml.m5.xlarge"}
        arn = sagemaker.create_endpoint_config(**config, ProductionVariants=[small])["EndpointConfigArn"]
        sagemaker.create_endpoint(EndpointName="rooms", EndpointConfigName="small")
        scale(scaling)
        try:
            works = check(sagemaker, scaling, variant, arn)
        except Exception:
            works = False
    if not works:
        lacks.add(name)

def config(sagemaker, **variant):
    return sagemaker.create_endpoint_config(EndpointConfigName="other", ProductionVariants=[variant])

def weigh(sagemaker):
    weights = [{"VariantName": "main", "DesiredWeight": 2.0}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="rooms", DesiredWeightsAndCapacities=weights)
    return variant_of(sagemaker).get("DesiredInstanceCount") == 1

def take_name(sagemaker):
    try:
        sagemaker.create_endpoint(EndpointName="rooms", EndpointConfigName="small")
    except sagemaker.exceptions.ClientError:
        return True

def retag(sagemaker, arn):
    for value in "ab":
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": value}])
    return sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "b"}]

def policies(scaling):
    return scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]

def targets(scaling):
    return scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]

pools = [{"InstanceType": "ml.m5.xlarge", "Priority": 1}]
has("update_endpoint", lambda s, a, v, arn: s.update_endpoint(EndpointName="rooms", EndpointConfigName="small"))
has("new instance types", lambda s, a, v, arn: config(s, **v, InstanceType="ml.g5.xlarge"))
has("instance pools", lambda s, a, v, arn: config(s, **v, InstancePools=pools))
has("async config", lambda s, a, v, arn: described(s)["AsyncInferenceConfig"])
has("weight leaves count", lambda s, a, v, arn: weigh(s))
has("taken name", lambda s, a, v, arn: take_name(s))
has("tags replace", lambda s, a, v, arn: retag(s, arn))
has("deregistering", lambda s, a, v, arn: (a.deregister_scalable_target(**TARGET), not policies(a))[1])
has("policy arn", lambda s, a, v, arn: policies(a)[0]["PolicyARN"] == (scale(a), policies(a)[0]["PolicyARN"])[1])
has("deletion deregisters", lambda s, a, v, arn: (s.delete_endpoint(EndpointName="rooms"), not targets(a))[1])
print(json.dumps(sorted(lacks)))
"""


@pytest.mark.exhaustive
def test_moto_itself_lacks_all_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own: in this one it is mended.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    answer = subprocess.run(
        [sys.executable, "-c", _AS_IT_COMES], capture_output=True, text=True, check=True, timeout=120
    )

    assert set(json.loads(answer.stdout)) == LACKS
