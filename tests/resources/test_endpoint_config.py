"""Endpoint configuration: what is its content, what is not, and what SageMaker is given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.endpoint_config import EndpointConfig


@pytest.fixture
def config(stacks: Stacks) -> EndpointConfig:
    return replace(Samples(stacks.mine).endpoint_config(), exact_name="")


def test_weights_and_counts_are_no_part_of_its_name(config: EndpointConfig) -> None:
    main, other = config.variants
    assert config.asynchronous is not None

    moved = replace(config, variants=(replace(main, weight=9.0, initial_instances=4), other))
    assert moved.aws_name == config.aws_name
    for changed in (
        replace(config, variants=(replace(main, instance_types=("ml.g6e.xlarge",)), other)),
        replace(config, variants=(main, replace(other, model=replace(other.model, exact_name="another")))),
        replace(config, variants=(main,)),
        replace(config, asynchronous=None),
        replace(config, asynchronous=replace(config.asynchronous, max_concurrency=8)),
    ):
        assert changed.aws_name != config.aws_name


def test_its_name_is_never_too_long(config: EndpointConfig) -> None:
    assert len(replace(config, name="demo-dev-" + "rooms" * 11 + "-endpoint").aws_name) <= 63


def test_what_sagemaker_is_given(aws: Aws, config: EndpointConfig) -> None:
    made(aws, config)

    answer = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config.aws_name)
    main, other = answer["ProductionVariants"]
    assert main["InstancePools"] == [
        {"InstanceType": "ml.g5.xlarge", "Priority": 1},
        {"InstanceType": "ml.g6.xlarge", "Priority": 2},
    ]
    assert "InstanceType" not in main
    assert (main["InitialInstanceCount"], main["InitialVariantWeight"]) == (1, 3.0)
    assert (main["ContainerStartupHealthCheckTimeoutInSeconds"], main["VariantInstanceProvisionTimeoutInSeconds"]) == (
        600,
        1800,
    )
    assert (other["InstanceType"], "InstancePools" in other) == ("ml.m5.xlarge", False)
    invoked = answer["AsyncInferenceConfig"]
    assert invoked["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    assert invoked["OutputConfig"]["S3FailurePath"].endswith("/errors/")
    assert set(invoked["OutputConfig"]["NotificationConfig"]) == {"SuccessTopic", "ErrorTopic"}


def test_realtime_has_no_queue(aws: Aws, config: EndpointConfig) -> None:
    realtime = replace(config, asynchronous=None)

    made(aws, realtime)

    assert_as_wanted(aws, realtime)
    answer = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=realtime.aws_name)
    assert "AsyncInferenceConfig" not in answer


def test_a_model_made_just_now_is_waited_for(aws: Aws, config: EndpointConfig) -> None:
    message = 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/x".'

    with refusing(aws, "sagemaker", "CreateEndpointConfig", "ValidationException", message) as calls:
        made(aws, config)

    assert len(calls) == 2
