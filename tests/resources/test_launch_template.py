"""Launch template: what a machine gets, an image that stays, versions that do not pile up."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, converge, made
from tests.resources.refusing import answering, refusing
from tests.resources.samples import IMAGE, Samples

from gpupipe.aws import Aws
from gpupipe.errors import AwsError
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.ownership import tag_map


@pytest.fixture
def template(stacks: Stacks) -> LaunchTemplate:
    return Samples(stacks.mine).launch_template()


def versions(aws: Aws, template: LaunchTemplate) -> list[dict[str, Any]]:
    answer = aws.client("ec2").describe_launch_template_versions(LaunchTemplateName=template.name)
    found: list[dict[str, Any]] = answer["LaunchTemplateVersions"]
    return found


def names_image(image: str) -> Any:
    """The SSM parameter as it reads once AWS has published another image."""
    return lambda operation: {"Parameter": {"Value": image}} if operation == "GetParameter" else None


def another_image(aws: Aws, besides: str) -> str:
    other = aws.client("ssm").get_parameter(Name=IMAGE.replace("x86_64", "arm64"))["Parameter"]["Value"]
    assert other != besides
    return str(other)


def test_what_a_machine_gets(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)

    (version,) = versions(aws, template)
    data = version["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"] == {"Encrypted": True, "VolumeType": "gp3", "VolumeSize": 100, "DeleteOnTermination": True}
    assert data["InstanceInitiatedShutdownBehavior"] == "stop"
    assert base64.b64decode(data["UserData"]).decode() == template.user_data
    assert data["IamInstanceProfile"] == {"Name": template.profile.name}
    assert data["SecurityGroupIds"] == [template.security_group.id_of(aws)]
    assert "KeyName" not in data
    tags = {one["ResourceType"]: tag_map(one["Tags"]) for one in data["TagSpecifications"]}
    for resource in ("instance", "volume", "network-interface"):
        assert tags[resource]["gpupipe:stack"] == "demo-dev"
        assert tags[resource]["gpupipe:key"] == "machine/segment"
        assert tags[resource]["gpupipe:template"] == template.fingerprint
        assert tags[resource]["team"] == "fields"


def test_a_newer_image_is_told_and_not_taken(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)
    pinned = versions(aws, template)[0]["LaunchTemplateData"]["ImageId"]
    newer = another_image(aws, besides=pinned)

    with answering(aws, "ssm", names_image(newer)):
        assert_as_wanted(aws, template)
        observed = template.observe(aws)
        assert observed is not None
        assert observed.note == f"image {pinned}; {newer} is newer"
        larger = replace(template, volume_gb=200)
        larger.update(aws, frozenset({"volume_gb"}))

    (version,) = versions(aws, template)
    assert version["LaunchTemplateData"]["ImageId"] == pinned
    assert_as_wanted(aws, larger)


def test_another_image_that_is_asked_for_is_taken(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)
    pinned = versions(aws, template)[0]["LaunchTemplateData"]["ImageId"]
    chosen = replace(template, image=another_image(aws, besides=pinned))

    converge(aws, chosen)

    assert versions(aws, template)[0]["LaunchTemplateData"]["ImageId"] == chosen.image
    assert chosen.fingerprint != template.fingerprint


def test_versions_do_not_pile_up_and_the_newest_is_the_default(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)

    for size in (200, 300, 400):
        converge(aws, replace(template, volume_gb=size))

    (version,) = versions(aws, template)
    assert (version["VersionNumber"], version["DefaultVersion"]) == (4, True)


def test_a_version_that_was_made_by_hand_is_replaced(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)
    ec2 = aws.client("ec2")
    data = {**versions(aws, template)[0]["LaunchTemplateData"], "MetadataOptions": {"HttpTokens": "optional"}}
    ec2.create_launch_template_version(
        LaunchTemplateName=template.name, LaunchTemplateData=data, VersionDescription="by hand"
    )
    ec2.modify_launch_template(LaunchTemplateName=template.name, DefaultVersion="2")

    converge(aws, template)

    assert_as_wanted(aws, template)


def test_a_security_group_that_was_made_anew_is_noticed(aws: Aws, template: LaunchTemplate) -> None:
    made(aws, template)
    template.security_group.delete(aws)
    template.security_group.create(aws)

    observed = template.observe(aws)
    assert observed is not None
    assert observed.fields["security_group"] == "another"
    converge(aws, template)

    assert_as_wanted(aws, template)


def test_an_image_that_the_region_does_not_have_is_said(aws: Aws, template: LaunchTemplate) -> None:
    for required in template.requires():
        made(aws, required)

    with refusing(aws, "ssm", "GetParameter", "ParameterNotFound", times=9), pytest.raises(AwsError) as told:
        template.create(aws)
    assert "there is no image /aws/service/" in str(told.value)
    assert "Choose another region" in str(told.value)

    with pytest.raises(AwsError, match="there is no image ami-0123456789abcdef0 in us-east-1"):
        replace(template, image="ami-0123456789abcdef0").create(aws)


def test_the_fingerprint_is_of_what_a_machine_gets(template: LaunchTemplate) -> None:
    tagged = replace(template, machine_tags={"team": "others"})

    assert tagged.fingerprint == template.fingerprint
    assert replace(template, user_data="echo other").fingerprint != template.fingerprint
