"""Endpoints in a whole local target: supervisor, emulators and runner together."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.local.containers import asynchronous, make_config, make_endpoint
from tests.local.functions import deploy
from tests.local.runners.sagemaker.rig import unique
from tests.local.stacks import Stack
from tests.local.waiting import kill, runs, until


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


def test_status_shows_endpoints_and_functions_reach_them(running: Stack) -> None:
    # given an endpoint in service
    name = in_service(running)
    # then status shows where requests go and what does them
    found = running.status()
    assert found["environment"]["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == found["endpoints"]["sagemaker-runtime"]
    (row,) = containers(running, name)
    assert (row["variant"], row["state"]) == ("main", "ready")
    assert Path(row["log"]).read_text().startswith("starting")
    # and a Lambda function reaches it with nothing but its own environment
    code = f"""
import boto3, json
def handler(event, context):
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(EndpointName="{name}", Body=b"from lambda")
    return json.loads(answer["Body"].read())["pid"]
"""
    deploy(running.client, running.status()["account_id"], "asks", code)
    answer = running.client("lambda").invoke(FunctionName="asks")
    assert json.loads(answer["Payload"].read()) == row["pid"]


@pytest.mark.exhaustive
def test_killed_supervisor_leaves_containers_to_the_next(running: Stack) -> None:
    # given an asynchronous endpoint with a request in work
    bucket = unique("hosting")
    s3 = running.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="in.json", Body=b'{"sleep": 1}')
    name = in_service(running, asynchronous=asynchronous(bucket))
    before = containers(running, name)
    answer = running.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName=name, InputLocation=f"s3://{bucket}/in.json", ContentType="application/json"
    )
    # when the supervisor is killed
    runtime = running.status()["endpoints"]["sagemaker-runtime"]
    kill(running.pids()["supervisor"])
    assert containers(running, name) == before
    # then the next one goes on with the same container at the same address, and the request is done
    assert running.up().endpoints["sagemaker-runtime"] == runtime
    assert containers(running, name) == before
    key = answer["OutputLocation"].removeprefix(f"s3://{bucket}/")
    until(lambda: key in [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]])


@pytest.mark.exhaustive
def test_stop_ends_containers_even_without_a_supervisor(running: Stack) -> None:
    # given an endpoint in service whose supervisor was killed
    name = in_service(running)
    pids = {one["pid"] for one in running.status()["containers"]}
    assert containers(running, name)
    kill(running.pids()["supervisor"])
    # when the target is stopped, then none of its containers is left
    running.stop(remove=False)
    assert not alive(pids)
    assert running.status()["containers"] == []


def test_removed_folder_ends_everything(running: Stack) -> None:
    # given a running target with a machine and an endpoint
    name = in_service(running)
    pids = {one["pid"] for one in containers(running, name)}
    pids |= {running.start_machine("lt-removed")["pid"], *running.pids().values()}
    # when a person removes its folder by hand (at once: what still writes there would get in the way of a slow removal)
    removed = (running.config_file.parent / ".gpupipe").rename(running.config_file.parent / "removed")
    shutil.rmtree(removed, ignore_errors=True)
    # then nothing goes on running
    until(lambda: not alive(pids))


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if runs(pid)}
