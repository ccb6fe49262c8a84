"""Endpoints in a whole local target: supervisor, emulators and room together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.local.containers import asynchronous, make_config, make_endpoint, write_container_python
from tests.local.functions import deploy
from tests.local.rooms import unique
from tests.local.stacks import Stack
from tests.local.stand_in import write_config
from tests.local.waiting import kill, until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A local target whose containers are the stand-in."""
    folder = tmp_path_factory.mktemp("hosting")
    config = write_config(folder)
    python = write_container_python(folder)
    config.write_text(config.read_text().replace(str(folder / "worker-python"), str(python)))
    stack = Stack(config)
    yield stack
    stack.stop()


def status_of(stack: Stack, name: str) -> str:
    return str(stack.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"])


def in_service(stack: Stack, **config: Any) -> str:
    name, sagemaker = unique("endpoint"), stack.client("sagemaker")
    make_endpoint(sagemaker, name, make_config(sagemaker, unique("config"), **config))
    until(lambda: status_of(stack, name) == "InService")
    return name


def containers(stack: Stack, name: str) -> list[dict[str, Any]]:
    return [one for one in stack.status()["containers"] if one["endpoint"] == name]


def ask(stack: Stack, name: str) -> dict[str, Any]:
    answer = stack.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"{}")
    found: dict[str, Any] = json.loads(answer["Body"].read())
    return found


def test_status_shows_endpoints_and_functions_reach_them(stack: Stack) -> None:
    # given an endpoint in service
    name = in_service(stack)
    # then status shows where requests go and what does them
    found = stack.status()
    assert found["environment"]["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == found["endpoints"]["sagemaker-runtime"]
    (row,) = containers(stack, name)
    assert (row["variant"], row["state"]) == ("main", "ready")
    assert Path(row["log"]).read_text().startswith("starting")
    # and a Lambda function reaches it with nothing but its own environment
    code = f"""
import boto3, json
def handler(event, context):
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(EndpointName="{name}", Body=b"from lambda")
    return json.loads(answer["Body"].read())["pid"]
"""
    deploy(stack.client, stack.status()["account_id"], "asks", code)
    answer = stack.client("lambda").invoke(FunctionName="asks")
    assert json.loads(answer["Payload"].read()) == row["pid"]


def test_killed_supervisor_leaves_containers_to_the_next(stack: Stack) -> None:
    # given an asynchronous endpoint with a request in work
    bucket = unique("hosting")
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="in.json", Body=b'{"sleep": 1}')
    name = in_service(stack, asynchronous=asynchronous(bucket))
    before = containers(stack, name)
    answer = stack.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName=name, InputLocation=f"s3://{bucket}/in.json", ContentType="application/json"
    )
    # when the supervisor is killed
    runtime = stack.status()["endpoints"]["sagemaker-runtime"]
    kill(stack.pids()["supervisor"])
    assert containers(stack, name) == before
    # then the next one goes on with the same container at the same address, and the request is done
    assert stack.up().endpoints["sagemaker-runtime"] == runtime
    assert containers(stack, name) == before
    key = answer["OutputLocation"].removeprefix(f"s3://{bucket}/")
    until(lambda: key in [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]])


def test_stop_ends_containers_even_without_a_supervisor(stack: Stack) -> None:
    # given an endpoint in service whose supervisor was killed
    name = in_service(stack)
    pids = {one["pid"] for one in stack.status()["containers"]}
    assert containers(stack, name)
    kill(stack.pids()["supervisor"])
    # when the target is stopped, then none of its containers is left
    stack.stop(remove=False)
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert stack.status()["containers"] == []
