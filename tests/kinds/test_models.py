"""Weights and their token: what machines are told, what their roles may do, and how long a bucket keeps the copy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kinds.judging import allows
from tests.kinds.settings import STACK, names, only, rooms, wanted

from gpupipe.kinds.endpoint.serving import HUB_STARTUP_S
from gpupipe.resources import Resource
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.endpoint_config import EndpointConfig, Variant
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.model import Model
from gpupipe.resources.role import Role
from gpupipe.resources.secret import Secret
from gpuworker.contract import ModelSource, WorkerSettings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB: dict[str, Any] = {"weights": "meadow/trees-1", "revision": COMMIT, "token_secret": "hf_token", "on_cpu": True}
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:demo-dev/hf_token-AbC123"
OTHERS_SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:demo-dev/roboflow_key-AbC123"
BUCKETS = {pipeline: f"arn:aws:s3:::{STACK.data_bucket(pipeline)}" for pipeline in ("segment", "rooms")}


def queue(**model: Any) -> tuple[Resource, ...]:
    return wanted("segment", model=model)


def endpoint(**model: Any) -> tuple[Resource, ...]:
    return rooms(model=model)


def test_a_machine_is_told_the_weights_and_the_secrets_name() -> None:
    user_data = only(queue(**HUB), LaunchTemplate).user_data
    assert "demo-dev/hf_token" in user_data
    model = only(endpoint(**HUB), Model)
    told = WorkerSettings.from_environment(model.environment).model
    assert told == ModelSource(weights="meadow/trees-1", revision=COMMIT, token_secret="demo-dev/hf_token", on_cpu=True)


@pytest.mark.parametrize(("make", "part", "pipeline"), [(queue, "worker", "segment"), (endpoint, "endpoint", "rooms")])
def test_a_worker_reads_its_token_and_keeps_the_copy_and_nothing_else(make: Any, part: str, pipeline: str) -> None:
    role, bucket = only(make(**HUB), Role, f"{pipeline}-{part}"), BUCKETS[pipeline]
    assert allows(role, "secretsmanager:GetSecretValue", SECRET)
    assert allows(role, "s3:GetObject", f"{bucket}/models/meadow/trees-1/{COMMIT}/config.json")
    assert allows(role, "s3:PutObject", f"{bucket}/models/compiled/sm90")
    assert not allows(role, "secretsmanager:GetSecretValue", OTHERS_SECRET)
    assert not allows(role, "secretsmanager:PutSecretValue", SECRET)
    assert not allows(role, "s3:DeleteObject", f"{bucket}/models/compiled/sm90")


@pytest.mark.parametrize(("make", "part", "pipeline"), [(queue, "worker", "segment"), (endpoint, "endpoint", "rooms")])
def test_a_worker_without_weights_has_none_of_these_rights(make: Any, part: str, pipeline: str) -> None:
    role = only(make(), Role, f"{pipeline}-{part}")
    assert not allows(role, "secretsmanager:GetSecretValue", SECRET)
    assert not allows(role, "s3:PutObject", f"{BUCKETS[pipeline]}/models/compiled/sm90")


def test_functions_read_no_secret() -> None:
    for role in (one for one in (*queue(**HUB), *endpoint(**HUB)) if isinstance(one, Role)):
        if not role.name.endswith(("-worker", "-endpoint")):
            assert not allows(role, "secretsmanager:GetSecretValue", SECRET), role.name


def test_a_secret_named_by_several_pipelines_is_one_and_the_stacks() -> None:
    secret = only(wanted("segment", "other", model=HUB), Secret)
    assert (secret.name, secret.pipeline, secret.key) == ("demo-dev/hf_token", "", "secret/hf_token")
    assert secret.holds_data
    assert names(wanted("segment"), Secret) == set()


@pytest.mark.parametrize("days", [1, 30])
def test_no_lifecycle_takes_weights_away(days: int) -> None:
    retention = {"inputs_days": days, "processed_days": days, "logs_days": days}
    for resources in (wanted("segment", model=HUB, retention=retention), rooms(model=HUB, retention=retention)):
        for rule in only(resources, Bucket, f"-data-{STACK.account}-{STACK.region}").lifecycle:
            if rule.expire_days:
                assert rule.prefix
                assert not f"models/meadow/trees-1/{COMMIT}/x".startswith(rule.prefix)


def test_an_endpoint_waits_longer_for_weights_that_come_from_a_hub() -> None:
    [slow] = only(endpoint(**HUB), EndpointConfig).variants
    [usual] = only(endpoint(), EndpointConfig).variants
    [folder] = only(endpoint(weights="/opt/trees"), EndpointConfig).variants
    assert slow.startup_timeout_s == HUB_STARTUP_S
    assert usual.startup_timeout_s == folder.startup_timeout_s == Variant.startup_timeout_s
