import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from tests.local.clients import Client, client_of
from tests.local.functions import deploy
from tests.local.waiting import until

from gpupipe.errors import TargetError
from gpupipe.local import emulators, processes
from gpupipe.local.emulators import Account, Emulators, Substitute
from gpupipe.local.processes import ProcessName

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_presigned_link_works(client: Client) -> None:
    # given an object
    s3 = client("s3")
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="a b+c.txt", Body=b"hello")
    # when its link is opened
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a b+c.txt"})
    with urllib.request.urlopen(url, timeout=5) as response:
        # then
        assert response.read() == b"hello"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_link_opens_no_other_service(local: Emulators, version: str) -> None:
    session: Any = boto3.Session(local.account.access_key, local.account.secret_key, region_name="us-east-1")
    options = Config(signature_version=version)
    s3 = session.client("s3", endpoint_url=local.endpoints["default"], config=options)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "any", "Key": "key"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    attempts: tuple[tuple[str, dict[str, Any]], ...] = (
        (f"{link}&Action=ListQueues", {}),
        (f"{link}&Action=ListTopics", {}),
        (link, {"headers": form, "data": b"Action=ListMetrics"}),
        (link, {"headers": {"Content-Type": "text/plain"}, "data": b"Action=ListMetrics"}),
        (link.replace(local.endpoints["default"], local.endpoints["ec2"]), {}),
    )
    for address, more in attempts:
        request = urllib.request.Request(address, method="GET", **more)
        with pytest.raises(urllib.error.HTTPError) as refused:
            DIRECT.open(request, timeout=20)
        content = refused.value.read()
        assert refused.value.code == 403 or b"NoSuchBucket" in content, content


def test_upload_arrives_in_the_queue_with_its_key_url_encoded(client: Client, local: Emulators) -> None:
    # given a bucket that tells a queue of its objects
    s3, sqs = client("s3"), client("sqs")
    s3.create_bucket(Bucket="events")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{local.account.account_id}:events"
    wanted = [{"Id": "x", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
    s3.put_bucket_notification_configuration(Bucket="events", NotificationConfiguration={"QueueConfigurations": wanted})
    # when an object with a difficult name comes
    s3.put_object(Bucket="events", Key="incoming/field 7/a+b%.jpg", Body=b"x")
    # then
    records: list[str] = []

    def arrived() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            records.extend(r["s3"]["object"]["key"] for r in json.loads(message["Body"]).get("Records", []))
        return bool(records)

    until(arrived)
    assert records == ["incoming/field+7/a%2Bb%25.jpg"]


def test_queue_urls_pass_the_gate(client: Client, local: Emulators) -> None:
    url = client("sqs").create_queue(QueueName="address")["QueueUrl"]
    assert url.startswith(local.endpoints["default"] + "/")


def test_functions_reach_both_emulators_and_no_account_of_the_person(client: Client, local: Emulators) -> None:
    # given a function that looks around
    vpcs = len(client("ec2").describe_vpcs()["Vpcs"])
    code = """
import boto3, os
def handler(event, context):
    return {
        "vpcs": len(boto3.client("ec2").describe_vpcs()["Vpcs"]),
        "account": boto3.client("sts").get_caller_identity()["Account"],
        "files": [os.environ["AWS_CONFIG_FILE"], os.environ["AWS_SHARED_CREDENTIALS_FILE"]],
    }
"""
    deploy(client, local.account.account_id, "looks-around", code)
    # when it runs
    answer = json.loads(client("lambda").invoke(FunctionName="looks-around")["Payload"].read())
    # then
    assert answer == {"vpcs": vpcs, "account": local.account.account_id, "files": [os.devnull, os.devnull]}


def test_environment_keeps_nothing_of_the_persons_own_aws_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a person with a profile, an endpoint and a proxy
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("NO_PROXY", "intranet")
    account = emulators.Account.new("eu-west-1")
    # when
    found = emulators.environment(account, emulators.endpoints({"moto": 1, "ministack": 2}))
    # then
    assert {"AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"}.isdisjoint(found)
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:2"
    assert found["AWS_ENDPOINT_URL_EC2"] == "http://127.0.0.1:1"
    assert found["AWS_REGION"] == "eu-west-1"
    assert found["NO_PROXY"] == "intranet,127.0.0.1,localhost"


@pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed")
def test_aws_s3_sync_works_with_nothing_but_the_environment(client: Client, local: Emulators, tmp_path: Path) -> None:
    # given a folder with difficult names
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "ü+1.txt").write_text("1")
    (tmp_path / "b.txt").write_text("2")
    client("s3").create_bucket(Bucket="synced")
    # when
    command = ["aws", "s3", "sync", ".", "s3://synced/incoming/field7/"]
    subprocess.run(command, cwd=tmp_path, env=local.environment, check=True, capture_output=True, timeout=60)
    # then
    keys = [item["Key"] for item in client("s3").list_objects_v2(Bucket="synced")["Contents"]]
    assert keys == ["incoming/field7/b.txt", "incoming/field7/sub dir/ü+1.txt"]


def test_taken_port_is_replaced_by_a_free_one() -> None:
    # given a port that somebody else listens on
    with emulators.bound_socket(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        # when it is wanted
        with emulators.bound_socket(port, patience_s=0.1) as other:
            # then
            assert other.getsockname()[1] not in (port, 0)
    # and once it is free, it is given
    with emulators.bound_socket(port) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize("missing", [pytest.param("ministack", marks=pytest.mark.exhaustive), "moto", "psutil"])
def test_missing_part_names_the_extra(missing: str) -> None:
    code = f"""
import sys
sys.modules["{missing}"] = None
from gpupipe.errors import TargetError
try:
    from gpupipe.local import control
    control.emulators.require_installed()
except TargetError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert f"needs {missing}" in found.stdout
    assert "pip install 'gpupipe-aws[local]'" in found.stdout


class TestKill:
    """What SIGKILL of ministack does: nothing outlives it, little is lost."""

    def test_functions_end_with_it_and_its_state_comes_back(self, tmp_path: Path) -> None:
        # given ministack with a queue, a function in warm state, and a snapshot taken since
        account = emulators.Account.new("us-east-1")
        port, process = self.start(account, tmp_path, 0)

        def client(service: str) -> object:
            return client_of(account, {"default": f"http://127.0.0.1:{port}"}, service)

        sqs = client_of(account, {"default": f"http://127.0.0.1:{port}"}, "sqs")
        url = sqs.create_queue(QueueName="kept")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="precious")
        deploy(client, account.account_id, "warm", "def handler(event, context):\n    return 1\n")
        client_of(account, {"default": f"http://127.0.0.1:{port}"}, "lambda").invoke(FunctionName="warm")
        functions = psutil.Process(process.pid).children()
        assert functions
        snapshot = tmp_path / "ministack" / "state" / "lambda.json"
        until(lambda: snapshot.exists() and "precious" in snapshot.with_name("sqs.json").read_text())
        try:
            # when it is killed
            os.kill(process.pid, signal.SIGKILL)
            until(lambda: not process.alive)
            # then its functions end
            psutil.wait_procs(functions, timeout=10)
            assert not [function for function in functions if function.is_running()]
            # and another on the same port knows what it knew
            again, process = self.start(account, tmp_path, port)
            assert again == port
            assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "precious"
        finally:
            processes.end(process, grace_s=5)

    @staticmethod
    def start(account: emulators.Account, folder: Path, port: int) -> tuple[int, ProcessName]:
        port, process = emulators.start(
            "ministack", folder, account=account, ports={}, wanted_port=port, with_parent=True
        )
        emulators.wait_ready("ministack", folder, process=process, port=port)
        return port, process


def test_start_error_ends_with_the_emulators_own_words(tmp_path: Path) -> None:
    # given a state folder that cannot be used
    account = emulators.Account.new("us-east-1")
    (tmp_path / "ministack").mkdir()
    (tmp_path / "ministack" / "tmp").mkdir()
    port, process = emulators.start("ministack", tmp_path, account=account, ports={}, with_parent=True)
    processes.end(process, grace_s=0)
    # when it is waited for
    with pytest.raises(TargetError, match="ended while starting"):
        emulators.wait_ready("ministack", tmp_path, process=process, port=port)


def test_requests_go_to_a_substitute_where_there_is_one() -> None:
    # given what serves two services, one of which botocore calls otherwise than boto3
    ports, account = {"moto": 1, "ministack": 2}, Account.new("us-east-1")
    assert emulators.endpoints(ports)["sagemaker-runtime"] == "http://127.0.0.1:1"
    played = Substitute(port=3, services=("sagemaker-runtime", "stepfunctions"))
    # when it is asked where services are
    found = emulators.endpoints(ports, [played])
    # then those are with it, and others where they were
    assert (found["sagemaker-runtime"], found["sagemaker"]) == ("http://127.0.0.1:3", "http://127.0.0.1:1")
    variables = emulators.client_environment(account, found)
    assert variables["AWS_ENDPOINT_URL_SFN"] == variables["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == "http://127.0.0.1:3"
    assert variables["AWS_ENDPOINT_URL_SAGEMAKER"] == "http://127.0.0.1:1"
