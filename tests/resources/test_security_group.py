"""Security group: nothing comes in, whatever somebody opened; the default VPC; machines that are going."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.contract import Stacks, assert_as_wanted
from tests.resources.refusing import refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import AwsError, NotOursError
from gpupipe.resources.security_group import Ingress, SecurityGroup


@pytest.fixture
def group(stacks: Stacks) -> SecurityGroup:
    return Samples(stacks.mine).security_group()


def test_nothing_comes_in(aws: Aws, group: SecurityGroup) -> None:
    group.create(aws)

    (seen,) = aws.client("ec2").describe_security_groups(GroupIds=[group.id_of(aws)])["SecurityGroups"]
    assert seen["IpPermissions"] == []


def test_ssh_is_open_to_those_named_in_both_families(aws: Aws, group: SecurityGroup) -> None:
    office = Ingress(port=22, cidr="192.0.2.0/24", description="office")
    home = Ingress(port=22, cidr="2001:db8::/32")
    group = replace(group, ingress=(office, home))

    group.create(aws)

    assert_as_wanted(aws, group)


def test_what_somebody_opened_is_closed_again_and_no_more_than_that(aws: Aws, group: SecurityGroup) -> None:
    group = replace(group, ingress=(Ingress(port=22, cidr="192.0.2.0/24", description="office"),))
    group.create(aws)
    opened = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
        "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
    }
    everything = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id_of(aws)}]}
    aws.client("ec2").authorize_security_group_ingress(GroupId=group.id_of(aws), IpPermissions=[opened, everything])
    observed = group.observe(aws)
    assert observed is not None
    assert len(observed.fields["ingress"]) == 4

    group.update(aws, frozenset({"ingress"}))

    assert_as_wanted(aws, group)


def test_without_a_default_vpc_the_way_out_is_said(aws: Aws, group: SecurityGroup) -> None:
    ec2 = aws.client("ec2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc["VpcId"])

    with pytest.raises(AwsError, match=r"no default VPC in us-east-1.*create-default-vpc.*network.vpc_id"):
        group.create(aws)


def test_a_group_of_its_name_in_another_vpc_is_no_obstacle(aws: Aws, group: SecurityGroup) -> None:
    ec2 = aws.client("ec2")
    other = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_security_group(GroupName=group.name, Description="theirs", VpcId=other)

    group.create(aws)

    assert_as_wanted(aws, group)
    with pytest.raises(NotOursError, match="was not made by gpupipe"):
        replace(group, stack=replace(group.stack, environment="prod"), vpc_id=other).create(aws)


def test_another_vpc_means_another_group(aws: Aws, group: SecurityGroup) -> None:
    group.create(aws)
    other = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    moved = replace(group, vpc_id=other)

    observed = moved.observe(aws)

    assert observed is not None
    assert (observed.fields["vpc"], moved.desired()["vpc"]) == ("default", other)
    assert "vpc" in SecurityGroup.immutable


def test_machines_that_are_still_going_are_waited_for(aws: Aws, group: SecurityGroup) -> None:
    group.create(aws)

    with refusing(aws, "ec2", "DeleteSecurityGroup", "DependencyViolation", times=2) as calls:
        group.delete(aws)

    assert len(calls) == 3
    assert group.observe(aws) is None


def test_a_group_that_ec2_does_not_know_yet_is_tried_again(aws: Aws, group: SecurityGroup) -> None:
    group = replace(group, ingress=(Ingress(port=22, cidr="192.0.2.0/24"),))

    with refusing(aws, "ec2", "AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound") as calls:
        group.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, group)
