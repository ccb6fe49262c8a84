"""What the shims mend works, and is still broken without them: once moto mends it, its second test fails."""

import base64
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.core import routing
from moto.core.utils import get_service_model
from tests.local.clients import Client
from tests.local.machines import TEMPLATE_DATA, launch
from tests.local.waiting import until

from gpupipe.aws import together
from gpupipe.local.emulators import Emulators


@pytest.fixture(scope="module")
def unmended() -> Iterator[Any]:
    """moto as it comes: in a process of its own, as other tests mend the one in this process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    try:
        until(lambda: listens(port), within_s=60)
        yield boto3.client("ec2", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", **keys)  # type: ignore[call-overload]
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def instance(ec2: Any, instance_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return found


def shutdown_behaviour(ec2: Any, instance_id: str) -> str:
    name = "instanceInitiatedShutdownBehavior"
    answer = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=name)
    return str(answer["InstanceInitiatedShutdownBehavior"]["Value"])


@pytest.mark.parametrize("market", ["on-demand", "spot"])
def test_machine_of_a_fleet_is_what_the_template_says(client: Client, market: str) -> None:
    # given a template with everything in it
    iam, ec2 = client("iam"), client("ec2")
    name = f"worker-{market}"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    data = TEMPLATE_DATA | {"IamInstanceProfile": {"Name": name}, "InstanceInitiatedShutdownBehavior": "terminate"}
    # when a machine is launched from it
    instance_id = launch(ec2, name=name, data=data, market=market)
    # then
    found = instance(ec2, instance_id)
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    assert shutdown_behaviour(ec2, instance_id) == "terminate"
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{name}")
    assert tags["aws:ec2launchtemplate:version"] == "1"
    assert tags["aws:ec2:fleet-id"].startswith("fleet-")
    ec2.terminate_instances(InstanceIds=[instance_id])


def test_repeated_client_token_starts_nothing_more(client: Client) -> None:
    ec2 = client("ec2")
    first = launch(ec2, name="token", token="once")
    assert launch(ec2, name="token", token="once") == first
    assert launch(ec2, name="token", token="another") != first


@pytest.mark.exhaustive
def test_moto_itself_drops_all_that(unmended: Any) -> None:
    data = TEMPLATE_DATA | {"InstanceInitiatedShutdownBehavior": "terminate"}
    first = launch(unmended, name="unmended", data=data, token="once")
    assert shutdown_behaviour(unmended, first) == "stop"
    assert launch(unmended, name="unmended", token="once") != first


def test_old_template_versions_can_be_deleted(client: Client) -> None:
    # given a template with two versions, the second in use
    ec2 = client("ec2")
    ec2.create_launch_template(LaunchTemplateName="versions", LaunchTemplateData=TEMPLATE_DATA)
    ec2.create_launch_template_version(LaunchTemplateName="versions", LaunchTemplateData=TEMPLATE_DATA)
    ec2.modify_launch_template(LaunchTemplateName="versions", DefaultVersion="2")
    # when both are to be deleted
    answer = ec2.delete_launch_template_versions(LaunchTemplateName="versions", Versions=["1", "2"])
    # then the one in use stays
    assert [v["VersionNumber"] for v in answer["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [v["VersionNumber"] for v in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [2]
    left = ec2.describe_launch_template_versions(LaunchTemplateName="versions")["LaunchTemplateVersions"]
    assert [version["VersionNumber"] for version in left] == [2]


@pytest.mark.exhaustive
def test_moto_itself_cannot_delete_template_versions(unmended: Any) -> None:
    unmended.create_launch_template(LaunchTemplateName="versions", LaunchTemplateData=TEMPLATE_DATA)
    with pytest.raises((ResponseParserError, ClientError)):
        unmended.delete_launch_template_versions(LaunchTemplateName="versions", Versions=["1"])


def test_aws_managed_policies_can_be_attached(client: Client, local: Emulators) -> None:
    iam = client("iam")
    iam.create_role(RoleName="ssm", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    iam.attach_role_policy(RoleName="ssm", PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
    assert len(iam.list_attached_role_policies(RoleName="ssm")["AttachedPolicies"]) == 1


def test_user_data_comes_back(client: Client) -> None:
    ec2 = client("ec2")
    text = '#cloud-config\n{"write_files": []}'
    instance_id = launch(
        ec2, name="user-data", data=TEMPLATE_DATA | {"UserData": base64.b64encode(text.encode()).decode()}
    )
    answer = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
    assert base64.b64decode(answer["UserData"]["Value"]).decode() == text


def test_routers_are_built_one_at_a_time(mended_moto: None) -> None:
    # given a router that takes until another thread builds one too, or a moment
    both, met = threading.Barrier(2), []

    def build(model: Any) -> object:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)
            met.append(model)
        return object()

    routing.PROTOCOL_ROUTERS["slow"] = build  # type: ignore[assignment]
    try:
        router = routing.ServiceOperationRouter(get_service_model("sqs"))
        # when two threads ask for it at once
        answers = together(*(lambda: router._get_router("slow"),) * 2)
        # then one builds it, and the other is given the same
        assert answers[0] is answers[1]
        assert met == []
    finally:
        del routing.PROTOCOL_ROUTERS["slow"]
