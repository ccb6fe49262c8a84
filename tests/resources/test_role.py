"""Role and instance profile: exact documents, everything that hangs on them, and one IAM for all regions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from moto import mock_aws
from tests.resources.contract import Stacks, assert_as_wanted, made
from tests.resources.refusing import refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import NotOursError
from gpupipe.resources.instance_profile import InstanceProfile
from gpupipe.resources.role import Role, Statement
from gpupipe.resources.schedule import group_arn

SSM = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"


@pytest.fixture
def role(stacks: Stacks) -> Role:
    return Samples(stacks.mine).role()


@pytest.fixture
def aws_with_policies(clients: Aws) -> Iterator[Aws]:
    """An account that knows AWS's managed policies."""
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield clients


def test_its_documents_are_exact(aws: Aws, role: Role) -> None:
    role.create(aws)

    iam = aws.client("iam")
    made_role = iam.get_role(RoleName=role.name)["Role"]
    assert made_role["Arn"] == role.arn == f"arn:aws:iam::123456789012:role/gpupipe/demo-dev/{role.name}"
    (trust,) = made_role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
    (allowed,) = iam.get_role_policy(RoleName=role.name, PolicyName="gpupipe")["PolicyDocument"]["Statement"]
    assert allowed == role.statements[0].document()


def test_a_source_narrows_who_may_take_it_on(stacks: Stacks) -> None:
    schedule = Samples(stacks.mine).schedule()

    (trust,) = schedule.role.desired()["trust"]["Statement"]

    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ["123456789012"]},
        "ArnLike": {"aws:SourceArn": [group_arn(stacks.mine)]},
    }
    assert group_arn(stacks.mine) == "arn:aws:scheduler:us-east-1:123456789012:schedule-group/default"


def test_a_widened_policy_is_seen_and_put_back(aws: Aws, role: Role) -> None:
    role.create(aws)
    wide = Statement(sid="All", actions=("*",), resources=("*",)).document()
    document = json.dumps({"Version": "2012-10-17", "Statement": [wide]})
    aws.client("iam").put_role_policy(RoleName=role.name, PolicyName="gpupipe", PolicyDocument=document)
    observed = role.observe(aws)
    assert observed is not None
    assert observed.fields["policy"] != role.desired()["policy"]

    role.update(aws, frozenset({"policy"}))

    assert_as_wanted(aws, role)


def test_order_and_single_values_make_no_difference(aws: Aws, role: Role) -> None:
    role.create(aws)
    statement = role.statements[0].document()
    shuffled = {**statement, "Action": statement["Action"][::-1], "Resource": statement["Resource"][0]}
    document = json.dumps({"Statement": shuffled, "Version": "2012-10-17"})
    aws.client("iam").put_role_policy(RoleName=role.name, PolicyName="gpupipe", PolicyDocument=document)

    assert_as_wanted(aws, role)


def test_managed_policies_are_attached_and_those_of_others_left(aws_with_policies: Aws, role: Role) -> None:
    aws, role = aws_with_policies, replace(role, managed=(SSM,))
    role.create(aws)
    theirs = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    aws.client("iam").attach_role_policy(RoleName=role.name, PolicyArn=theirs)
    assert_as_wanted(aws, role)

    aws.client("iam").detach_role_policy(RoleName=role.name, PolicyArn=SSM)
    observed = role.observe(aws)
    assert observed is not None
    assert observed.fields["managed"] == []
    role.update(aws, frozenset({"managed"}))

    assert_as_wanted(aws, role)


def test_it_is_deleted_with_all_that_hangs_on_it(aws_with_policies: Aws, role: Role, stacks: Stacks) -> None:
    aws, iam = aws_with_policies, aws_with_policies.client("iam")
    profile = replace(Samples(stacks.mine).instance_profile(), role=role)
    made(aws, profile)
    iam.attach_role_policy(RoleName=role.name, PolicyArn=SSM)
    document = json.dumps({"Version": "2012-10-17", "Statement": [role.statements[0].document()]})
    iam.put_role_policy(RoleName=role.name, PolicyName="by-hand", PolicyDocument=document)

    role.delete(aws)

    assert role.observe(aws) is None
    observed = profile.observe(aws)
    assert observed is not None
    assert observed.fields["role"] == ""


def test_a_profile_takes_its_role_back(aws: Aws, stacks: Stacks) -> None:
    profile: InstanceProfile = Samples(stacks.mine).instance_profile()
    made(aws, profile)
    aws.client("iam").remove_role_from_instance_profile(InstanceProfileName=profile.name, RoleName=profile.role.name)

    profile.update(aws, frozenset({"role"}))

    assert_as_wanted(aws, profile)


def test_a_role_that_iam_does_not_know_yet_is_waited_for(aws: Aws, role: Role) -> None:
    with refusing(aws, "iam", "PutRolePolicy", "NoSuchEntity") as calls:
        role.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, role)


def test_another_regions_stack_of_the_same_name_owns_its_role(aws: Aws, role: Role) -> None:
    there = replace(role, stack=replace(role.stack, region="eu-west-1"))
    there.create(aws)

    with pytest.raises(NotOursError, match="belongs to demo-dev in eu-west-1"):
        role.create(aws)
    assert list(Role.find(aws)) == []
