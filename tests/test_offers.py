"""What AWS has: regions, services in them, instance types; and the near ones that are told for a typo."""

from __future__ import annotations

from typing import Any

import pytest

from gpupipe.costs import INSTANCE_USD_PER_HOUR
from gpupipe.errors import ConfigError
from gpupipe.offers import region_mistake, service_mistake, type_mistakes
from gpupipe.provision import check_offers
from tests.kinds.settings import config

SERVICES = ("ec2", "sagemaker")


def mistakes(service: str, *types: str) -> list[str]:
    return list(type_mistakes(types, service=service, priced=INSTANCE_USD_PER_HOUR))


def told(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check_offers(config("segment", **settings))
    return caught.value.message


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("us-est-1", "us-east-1"),
        ("us-east-9", "us-east-1"),
        ("eu-wset-1", "eu-west-1"),
        ("eu-center-1", "eu-central-1"),
        ("ap-northeast-7", "ap-northeast-2"),
        ("us-gov-wets-1", "us-gov-west-1"),
    ],
)
def test_a_region_that_aws_does_not_have_is_told_with_the_near_one(typo: str, meant: str) -> None:
    mistake = region_mistake(typo)
    assert mistake.startswith(f"AWS has no region {typo!r}; did you mean ")
    assert repr(meant) in mistake
    assert mistake.endswith("? If it is new, `pip install --upgrade boto3` brings a list that has it.")


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-2", "mx-central-1", "cn-north-1", "eusc-de-east-1"])
def test_regions_of_every_partition_are_known(region: str) -> None:
    assert region_mistake(region) == ""


def test_a_region_without_sagemaker_is_told_for_endpoints_only() -> None:
    assert "AWS does not offer SageMaker in us-iso-west-1" in service_mistake("sagemaker", "us-iso-west-1")
    assert service_mistake("ec2", "us-iso-west-1") == service_mistake("sagemaker", "us-east-1") == ""
    assert service_mistake("sagemaker", "us-est-1") == ""  # which is told as a region


@pytest.mark.parametrize(
    ("service", "typo", "meant"),
    [
        ("ec2", "g9.large", "g5.xlarge"),
        ("ec2", "g4d.xlarge", "g4dn.xlarge"),
        ("ec2", "g5.xlrge", "g5.xlarge"),
        ("ec2", "p3.xlarge", "p3.2xlarge"),
        ("sagemaker", "ml.g9.xlarge", "ml.g5.xlarge"),
        ("sagemaker", "ml.m5.xlarg", "ml.m5.xlarge"),
        ("sagemaker", "ml.g4dn.3xlarge", "ml.g4dn.xlarge"),
    ],
)
def test_an_instance_type_that_is_none_is_told_with_near_ones(service: str, typo: str, meant: str) -> None:
    (mistake,) = mistakes(service, "ml.m5.xlarge" if service == "sagemaker" else "g5.xlarge", typo)
    assert f"has no instance type {typo!r}; did you mean " in mistake
    assert repr(meant) in mistake


def test_what_nothing_is_like_gets_no_guess() -> None:
    assert "did you mean" not in region_mistake("zz-qqqqqqqq-9")


def test_types_without_a_price_here_are_known_by_the_services_own_lists() -> None:
    assert mistakes("ec2", "p5.48xlarge", "c7i.xlarge") == mistakes("sagemaker", "ml.p5.48xlarge") == []
    # A type of EC2's that SageMaker has not.
    assert mistakes("sagemaker", "ml.u-6tb1.metal")


@pytest.mark.parametrize("service", SERVICES)
def test_every_type_of_the_price_table_is_one_of_the_services(service: str) -> None:
    own = [one for one in INSTANCE_USD_PER_HOUR if one.startswith("ml.") == (service == "sagemaker")]
    assert list(type_mistakes(own, service=service, priced=())) == []


def test_every_mistake_of_a_queue_is_told_at_once_with_its_key() -> None:
    message = told(compute={"instance_types": ("g5.xlarge", "g9.large", "g4d.xlarge")})
    assert message.splitlines()[0] == "AWS does not have what the configuration names:"
    assert "  pipelines.segment.compute.instance_types: EC2 has no instance type 'g9.large'" in message
    assert "  pipelines.segment.compute.instance_types: EC2 has no instance type 'g4d.xlarge'" in message


def test_an_endpoints_types_are_looked_for_in_its_variants_too() -> None:
    message = told(
        kind="endpoint",
        task="detect-rooms",
        compute={"instance_types": ("ml.c5.lrge",)},
        variants=[{"name": "new", "image": "rooms:2", "instance_types": ("ml.g9.xlarge",)}],
    )
    assert "pipelines.segment.compute.instance_types: SageMaker has no instance type 'ml.c5.lrge'" in message
    assert "pipelines.segment.variants.new.instance_types: SageMaker has no instance type 'ml.g9.xlarge'" in message


def test_the_defaults_of_every_kind_are_had() -> None:
    check_offers(config("segment"))
    check_offers(config("segment", kind="endpoint", task="detect-rooms"))
