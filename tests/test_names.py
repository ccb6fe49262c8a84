"""Names: within AWS's limits for every stack that the configuration allows, and never two of one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.names import TAG_KEY, TAG_PIPELINE, TAG_STACK, Stack
from gpupipe.settings import ENVIRONMENT_NAME, PIPELINE_NAME, STACK_NAME


def exactly(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True)


accounts = st.from_regex(r"[0-9]{12}", fullmatch=True)
regions = st.sampled_from(["us-east-1", "ap-southeast-2", "us-gov-west-1", "ap-northeast-1", "cn-north-1"])
stacks = st.builds(
    Stack, name=exactly(STACK_NAME), environment=exactly(ENVIRONMENT_NAME), account=accounts, region=regions
)
pipelines = exactly(PIPELINE_NAME)

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
PARTS = ("dispatch", "guard", "callback", "forward", "endpoint", "worker", "schedule")


@given(stacks, pipelines)
def test_names_fit_their_services(stack: Stack, pipeline: str) -> None:
    for bucket in (stack.state_bucket, stack.data_bucket(pipeline)):
        assert BUCKET.fullmatch(bucket), bucket
    for part in PARTS:
        assert re.fullmatch(r"[\w+=,.@-]{1,64}", stack.part(pipeline, part))  # IAM, Lambda, Scheduler
    queues = (stack.work_queue, stack.dead_letter_queue, stack.event_queue, stack.undelivered_queue)
    for queue in queues:
        assert re.fullmatch(r"[\w-]{1,80}", queue(pipeline))
    assert re.fullmatch(r"[\w.-]{3,255}", stack.table)
    assert len(stack.worker_log_group(pipeline)) <= 512
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", stack.endpoint(pipeline))
    assert stack.endpoint(pipeline) == stack.endpoint(pipeline).lower()  # as SageMaker writes it in ARNs
    for topic in (stack.success_topic(pipeline), stack.error_topic(pipeline)):
        assert re.fullmatch(r"[\w-]{1,256}", topic)
    assert len(stack.endpoint_log_group(pipeline)) <= 512


@given(stacks, pipelines, pipelines)
def test_pipelines_of_a_stack_share_no_name(stack: Stack, one: str, other: str) -> None:
    buckets = {stack.state_bucket, stack.data_bucket(one), stack.data_bucket(other)}
    queues = [stack.work_queue, stack.dead_letter_queue, stack.event_queue, stack.undelivered_queue]
    names = {queue(pipeline) for queue in queues for pipeline in (one, other)}

    assert len(buckets) == (2 if one == other else 3)
    assert len(names) == (4 if one == other else 8)


@given(stacks, stacks, pipelines)
def test_stacks_share_no_bucket(one: Stack, other: Stack, pipeline: str) -> None:
    same = (one.id, one.account, one.region) == (other.id, other.account, other.region)

    assert (one.data_bucket(pipeline) == other.data_bucket(pipeline)) is same
    assert (one.state_bucket == other.state_bucket) is same


def test_a_name_that_is_too_long_is_cut_and_stays_its_own() -> None:
    long = {"name": "a" * 20, "environment": "e" * 10, "account": "123456789012"}
    one, other = Stack(**long, region="us-east-1"), Stack(**long, region="ap-southeast-2")

    names = {stack.data_bucket("p" * 16) for stack in (one, other)}

    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def test_our_tags_are_not_replaced_by_the_persons() -> None:
    extra = (("team", "fields"), (TAG_STACK, "stolen"))
    stack = Stack(name="demo", environment="dev", account="1", region="us-east-1", extra_tags=extra)

    assert stack.tags("queue/x", pipeline="segment") == {
        "team": "fields",
        TAG_STACK: "demo-dev",
        TAG_KEY: "queue/x",
        TAG_PIPELINE: "segment",
    }


@pytest.mark.parametrize(
    ("partition", "endpoint", "url"),
    [
        ("aws", None, "https://sqs.us-east-1.amazonaws.com/1/q"),
        ("aws-cn", None, "https://sqs.us-east-1.amazonaws.com.cn/1/q"),
        ("aws", "http://127.0.0.1:4566", "http://127.0.0.1:4566/1/q"),
    ],
)
def test_a_queues_url_is_known_without_asking(partition: str, endpoint: str | None, url: str) -> None:
    stack = Stack(name="demo", environment="dev", account="1", region="us-east-1", partition=partition)

    assert stack.queue_url("q", endpoint) == url
