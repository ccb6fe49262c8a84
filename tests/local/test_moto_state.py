"""What a killed moto still knows: in one process with moto, and by killing a moto of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.local.clients import client_of
from tests.local.machines import launch, worker_template
from tests.local.waiting import kill

from gpupipe.local import emulators, moto_shims, moto_state, processes
from gpupipe.local.emulators import Account
from gpupipe.local.gate import Message, Scope
from gpupipe.local.moto_state import SavesBeforeAnswering

NOTHING = '{"Version": "2012-10-17", "Statement": []}'
READS = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
)
THREADS = 2
PATIENCE_S = 10.0
THEIRS = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def client(service: str) -> Any:
    session: Any = boto3.Session("testing", "testing", region_name="us-east-1")
    return session.client(service)


@pytest.fixture
def moto() -> Iterator[Any]:
    """A moto in this process; `stop` and `start` make it forget everything."""
    moto_shims.install()
    mock = mock_aws()
    mock.start()
    yield mock
    mock.stop()


def test_all_that_others_have_made_comes_back(moto: Any, tmp_path: Path) -> None:
    # given machines, one of them stopped, and what people and functions have set beside them
    ec2, iam, scaling = client("ec2"), client("iam"), client("application-autoscaling")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=NOTHING)
    policy = iam.create_policy(PolicyName="own", PolicyDocument=READS)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="worker", PolicyArn=policy)
    iam.create_instance_profile(InstanceProfileName="worker")
    data = worker_template("stop", then="wait") | {"IamInstanceProfile": {"Name": "worker"}}
    spot, stopped = launch(ec2, name="spot", data=data, market="spot"), launch(ec2, name="stopped", data=data)
    ec2.stop_instances(InstanceIds=[stopped])
    ec2.create_tags(Resources=[spot], Tags=[{"Key": "seen", "Value": "yes"}])
    scaling.register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId="endpoint/e/variant/v",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=0,
        MaxCapacity=7,
    )

    def all_of_it() -> list[Any]:
        behaviour = {"InstanceId": spot, "Attribute": "instanceInitiatedShutdownBehavior"}
        return [
            sorted((one for r in ec2.describe_instances()["Reservations"] for one in r["Instances"]), key=str),
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_launch_template_versions(LaunchTemplateName="spot")["LaunchTemplateVersions"],
            ec2.describe_instance_attribute(**behaviour)["InstanceInitiatedShutdownBehavior"],
            iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"],
            scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        ]

    before = all_of_it()
    file = tmp_path / moto_state.FILE
    moto_state.save(file)
    # when moto begins anew
    moto.stop()
    moto.start()
    assert ec2.describe_instances()["Reservations"] == []
    moto_state.load(file)
    # then it is all as it was
    assert all_of_it() == before
    # and can be changed further
    ec2.terminate_instances(InstanceIds=[spot])
    states = {one["InstanceId"]: one["State"]["Name"] for one in all_of_it()[0]}
    assert states == {spot: "terminated", stopped: "stopped"}
    iam.detach_role_policy(RoleName="worker", PolicyArn=policy)


def test_a_killed_moto_comes_back_with_the_machines_of_its_fleets(tmp_path: Path) -> None:
    account = Account.new("us-east-1")
    port, process = emulators.start("moto", tmp_path, account=account, ports={})
    try:
        # given a machine that somebody was told of a moment ago
        emulators.wait_ready("moto", tmp_path, process=process, port=port)
        ec2, iam = (client_of(account, {"default": f"http://127.0.0.1:{port}"}, name) for name in ("ec2", "iam"))
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=NOTHING)
        iam.attach_role_policy(RoleName="worker", PolicyArn=THEIRS)
        machine = launch(ec2, name="fleet", data=worker_template("terminate"), market="spot", token="once")
        before = ec2.describe_instances()["Reservations"]
        # when moto is killed at once, and started again
        kill(process.pid)
        port, process = emulators.start("moto", tmp_path, account=account, ports={}, wanted_port=port)
        emulators.wait_ready("moto", tmp_path, process=process, port=port)
        # then the machine is there as it was, and whoever asks for it again gets the same
        assert ec2.describe_instances()["Reservations"] == before
        assert launch(ec2, name="fleet", token="once") == machine
        # and a role has what AWS itself has written, which is not saved
        assert iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"][0]["PolicyArn"] == THEIRS
        iam.detach_role_policy(RoleName="worker", PolicyArn=THEIRS)
    finally:
        processes.end(process, grace_s=5.0)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x05N."])
def test_what_cannot_be_read_is_left_out(moto: Any, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / moto_state.FILE
    file.write_bytes(content)
    moto_state.load(file)
    assert client("ec2").describe_vpcs()["Vpcs"]
    assert not file.exists()


def test_what_is_thrown_away_is_not_there_and_need_not_be(tmp_path: Path) -> None:
    (tmp_path / moto_state.FILE).touch()
    moto_state.forget(tmp_path)
    moto_state.forget(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
    moto_state.load(tmp_path / moto_state.FILE)


@pytest.mark.parametrize(
    ("method", "target", "body", "events"),
    [
        ("POST", "", b"Action=CreateFleet&Version=1", ["saved", "answered"]),
        ("POST", "", b"Version=1&Action=TerminateInstances", ["saved", "answered"]),
        ("POST", "", b"Action=DescribeInstances&Version=1", ["answered"]),
        ("POST", "SageMaker.DeleteEndpoint", b"{}", ["saved", "answered"]),
        ("POST", "SageMaker.ListEndpoints", b"{}", ["answered"]),
        ("POST", "", b"nobody knows", ["saved", "answered"]),
        ("GET", "", b"", ["answered"]),
    ],
)
def test_changes_are_saved_before_they_are_answered(method: str, target: str, body: bytes, events: list[str]) -> None:
    happened: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == body
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            happened.append("answered")

    headers = [(b"x-amz-target", target.encode())] if target else []
    scope: Scope = {"type": "http", "method": method, "headers": headers}
    asyncio.run(SavesBeforeAnswering(app, lambda: happened.append("saved"))(scope, receive, send))
    assert happened == events


def test_more_changes_at_once_than_the_loop_has_threads_are_all_answered() -> None:
    # given an application that runs in the loop's threads, as hypercorn has it, each waiting until its answer has left
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()

        def run() -> None:
            start = {"type": "http.response.start", "status": 200, "headers": []}
            asyncio.run_coroutine_threadsafe(send(start), loop).result(PATIENCE_S)

        await loop.run_in_executor(None, run)

    saved, answers = [], []
    saving = SavesBeforeAnswering(app, lambda: saved.append(1))

    async def send(message: Message) -> None:
        answers.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"Action=RunInstances", "more_body": False}

    async def ask_all() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        scope: Scope = {"type": "http", "method": "POST", "headers": []}
        await asyncio.gather(*(saving(scope, receive, send) for _ in range(2 * THREADS)))

    # then none of them waits for a thread that another has
    asyncio.run(ask_all())
    assert (len(saved), answers) == (2 * THREADS, [200] * 2 * THREADS)
