"""Clients, absence, propagation and the gate."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from gpupipe.aws import (
    ABSENT_BY_SERVICE,
    Aws,
    absent_ok,
    is_mutation,
    is_propagating,
    together,
)
from gpupipe.errors import AwsError, LockLostError, StoppedError, TargetError
from gpupipe.names import Stack
from tests.ticking import TickingClock

STACK = Stack(name="demo", environment="dev", account="123456789012", region="eu-west-1")
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture
def aws() -> Aws:
    """Which waits without sleeping."""
    return Aws(stack=STACK, credentials=KEYS, clock=TickingClock())


def client(service: str) -> Any:
    return boto3.client(service, region_name="eu-west-1", **KEYS)  # type: ignore[call-overload]


def refusal(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


# Each service's own way of saying "it is not there": operation, code, HTTP status.
ABSENCES = [
    ("s3", "get_object", {"Bucket": "bucket", "Key": "k"}, "NoSuchKey", 404),
    ("s3", "head_object", {"Bucket": "bucket", "Key": "k"}, "404", 404),
    ("s3", "get_bucket_tagging", {"Bucket": "bucket"}, "NoSuchTagSet", 404),
    ("s3", "get_bucket_policy", {"Bucket": "bucket"}, "NoSuchBucketPolicy", 404),
    ("s3", "get_public_access_block", {"Bucket": "bucket"}, "NoSuchPublicAccessBlockConfiguration", 404),
    ("s3", "get_bucket_lifecycle_configuration", {"Bucket": "bucket"}, "NoSuchLifecycleConfiguration", 404),
    ("s3", "get_bucket_ownership_controls", {"Bucket": "bucket"}, "OwnershipControlsNotFoundError", 404),
    ("sqs", "get_queue_attributes", {"QueueUrl": "u"}, "AWS.SimpleQueueService.NonExistentQueue", 400),
    ("sqs", "list_queue_tags", {"QueueUrl": "u"}, "QueueDoesNotExist", 400),
    ("dynamodb", "describe_table", {"TableName": "ttt"}, "ResourceNotFoundException", 400),
    ("lambda", "get_function", {"FunctionName": "f"}, "ResourceNotFoundException", 404),
    ("logs", "list_tags_for_resource", {"resourceArn": "arn"}, "ResourceNotFoundException", 400),
    ("secretsmanager", "describe_secret", {"SecretId": "s"}, "ResourceNotFoundException", 400),
    ("scheduler", "get_schedule", {"Name": "s"}, "ResourceNotFoundException", 404),
    ("iam", "get_role", {"RoleName": "r"}, "NoSuchEntity", 404),
    ("ec2", "describe_launch_template_versions", {}, "InvalidLaunchTemplateName.NotFoundException", 400),
    ("ec2", "describe_security_groups", {}, "InvalidGroup.NotFound", 400),
    ("ec2", "terminate_instances", {"InstanceIds": ["i"]}, "InvalidInstanceID.NotFound", 400),
    ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]}, "ResourceNotFound", 404),
    ("ssm", "get_parameter", {"Name": "n"}, "ParameterNotFound", 400),
    ("sns", "get_topic_attributes", {"TopicArn": "t"}, "NotFound", 404),
    (
        "application-autoscaling",
        "deregister_scalable_target",
        {"ServiceNamespace": "sagemaker", "ResourceId": "r", "ScalableDimension": "d"},
        "ObjectNotFoundException",
        400,
    ),
]


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "code", "status"), ABSENCES, ids=[f"{row[0]}-{row[3]}" for row in ABSENCES]
)
def test_absence_is_an_answer(service: str, operation: str, arguments: dict[str, Any], code: str, status: int) -> None:
    stubbed = client(service)
    with Stubber(stubbed) as stub:
        stub.add_client_error(operation, service_error_code=code, http_status_code=status)

        assert absent_ok(getattr(stubbed, operation), **arguments) is None


def test_every_known_absence_is_tried_on_some_service() -> None:
    services = {name for names in ABSENT_BY_SERVICE for name in names.split(", ")}

    assert services - {row[0] for row in ABSENCES} == {"events"}


def test_sagemaker_says_absence_in_words_only() -> None:
    sagemaker = client("sagemaker")
    with Stubber(sagemaker) as stub:
        stub.add_client_error("describe_model", "ValidationException", 'Could not find model "arn:…".')
        stub.add_client_error("describe_model", "ValidationException", "1 validation error detected")

        assert absent_ok(sagemaker.describe_model, ModelName="m") is None
        with pytest.raises(ClientError, match="1 validation error"):
            absent_ok(sagemaker.describe_model, ModelName="m")


def test_other_refusals_are_no_absence() -> None:
    s3 = client("s3")
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", service_error_code="AccessDenied", http_status_code=403)

        with pytest.raises(ClientError, match="AccessDenied"):
            absent_ok(s3.get_object, Bucket="bucket", Key="k")


# What AWS says while IAM has not caught up, as its documentation and support threads quote it.
PASSING = [
    ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."),
    (
        "InvalidParameterValueException",
        "The function execution role does not have permissions to call ReceiveMessage on SQS",
    ),
    (
        "InvalidParameterValue",
        "Value (demo) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
    ),
    ("ValidationException", "Could not assume role arn:aws:iam::1:role/x. Please ensure that the role exists"),
    ("ValidationException", 'its trust relationship policy allows the action "sts:AssumeRole" for SageMaker'),
    ("ValidationException", 'Could not find model "arn:aws:sagemaker:us-east-1:1:model/x".'),
    ("ObjectNotFoundException", "No scalable target registered for service namespace: sagemaker"),
    ("MalformedPolicyDocument", 'Invalid principal in policy: "AWS"'),
    ("InvalidArgument", "Unable to validate the following destination configurations"),
    (
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource: x",
    ),
    ("AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue"),
]


@pytest.mark.parametrize(("code", "message"), PASSING)
def test_a_role_made_seconds_ago_is_waited_for(aws: Aws, code: str, message: str) -> None:
    functions = client("lambda")
    with Stubber(functions) as stub:
        stub.add_client_error("get_function", service_error_code=code, service_message=message)
        stub.add_response("get_function", {"Configuration": {"FunctionName": "f"}})

        assert aws.propagated(functions.get_function, FunctionName="f")["Configuration"]["FunctionName"] == "f"


def test_a_refusal_that_never_passes_is_raised_at_once(aws: Aws) -> None:
    calls: list[int] = []

    def refuse() -> None:
        calls.append(1)
        raise refusal("InvalidParameterValueException", "Memory must be at least 128")

    with pytest.raises(ClientError):
        aws.propagated(refuse)
    assert len(calls) == 1
    assert not is_propagating(refusal("AccessDenied"))


def test_waiting_for_propagation_ends() -> None:
    clock = TickingClock()

    def refuse() -> None:
        raise refusal("InvalidParameterValueException", "cannot be assumed by Lambda")

    with pytest.raises(ClientError):
        Aws(stack=STACK, clock=clock).propagated(refuse, within_s=75)
    assert 70 <= clock.now <= 75


def test_named_refusals_are_tried_again(aws: Aws) -> None:
    ec2 = client("ec2")
    with Stubber(ec2) as stub:
        stub.add_client_error("delete_security_group", service_error_code="DependencyViolation")
        stub.add_response("delete_security_group", {})

        aws.retried(ec2.delete_security_group, codes={"DependencyViolation"}, within_s=30, GroupId="sg-1")
        stub.assert_no_pending_responses()


def test_answers_come_in_the_order_of_the_calls() -> None:
    assert together(lambda: 1, lambda: 2, lambda: 3) == [1, 2, 3]
    assert together() == []


def test_the_error_of_one_of_several_calls_is_raised() -> None:
    def fail() -> None:
        raise ValueError("second")

    with pytest.raises(ValueError, match="second"):
        together(lambda: 1, fail)


@pytest.mark.parametrize(
    ("operation", "changes"),
    [
        ("GetObject", False),
        ("ListQueues", False),
        ("DescribeInstances", False),
        ("HeadBucket", False),
        ("Query", False),
        ("BatchGetItem", False),
        ("PutObject", True),
        ("CreateQueue", True),
        ("RunInstances", True),
        ("TagQueue", True),
        ("AddPermission", True),
        ("BatchWriteItem", True),
        ("Invoke", True),
    ],
)
def test_changes_are_told_from_reads(operation: str, changes: bool) -> None:
    assert is_mutation(operation) is changes


def test_the_gate_stands_before_every_call() -> None:
    seen: list[tuple[str, str]] = []

    def gate(service: str, operation: str) -> None:
        seen.append((service, operation))
        raise StoppedError("closed")

    aws = Aws(stack=STACK, credentials=KEYS).gated(gate)

    with pytest.raises(StoppedError):
        aws.client("sqs").create_queue(QueueName="q")
    assert seen == [("sqs", "CreateQueue")]


@pytest.mark.parametrize(
    ("service", "url"), [("ec2", "http://127.0.0.1:2"), ("s3", "http://127.0.0.1:1"), ("sqs", "http://127.0.0.1:1")]
)
def test_services_go_to_their_own_endpoint(service: str, url: str) -> None:
    endpoints = {"default": "http://127.0.0.1:1", "ec2": "http://127.0.0.1:2"}
    aws = Aws(stack=STACK, endpoints=endpoints, credentials=KEYS)

    assert aws.client(service).meta.endpoint_url == url
    assert aws.is_local


def test_clients_are_made_once() -> None:
    aws = Aws(stack=STACK, credentials=KEYS)

    assert aws.client("s3") is aws.client("s3")
    assert aws.gated(None).client("s3") is not aws.client("s3")
    assert aws.gated(None).session is aws.session


def test_behind_a_gate_the_clock_is_the_same(aws: Aws) -> None:
    assert aws.gated(None).clock is aws.clock


# --- an attendant ---


class Restorer:
    """Looks after an address of this machine: what answers there is started when a call finds nobody."""

    def __init__(self, port: int, *, is_gone: bool = False) -> None:
        self.asked = 0
        self._port, self._is_gone = port, is_gone
        self._lost: TargetError | None = None
        self._server: HTTPServer | None = None

    def require(self) -> None:
        if self._lost:
            raise self._lost

    def restore(self) -> None:
        self.asked += 1
        if self._is_gone:
            self._lost = TargetError("it is gone.")
        self.require()
        if self._server is None:
            self._server = HTTPServer(("127.0.0.1", self._port), NoTables)
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class NoTables(BaseHTTPRequestHandler):
    """DynamoDB's answer to ListTables."""

    def do_POST(self) -> None:
        content = b'{"TableNames": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def dead_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def local(port: int, attendant: Restorer | None = None) -> Aws:
    return Aws(stack=STACK, credentials=KEYS, endpoints={"default": f"http://127.0.0.1:{port}"}, attendant=attendant)


def test_what_got_no_answer_is_asked_again_once_somebody_has_seen_to_it(dead_port: int) -> None:
    attendant = Restorer(dead_port)
    try:
        for aws in (local(dead_port, attendant), local(dead_port, attendant).gated(None)):
            assert aws.client("dynamodb").list_tables()["TableNames"] == []
    finally:
        attendant.end()
    assert attendant.asked == 1


def test_a_gate_that_closed_meanwhile_is_asked_before_a_call_is_made_again(dead_port: int) -> None:
    # given a plan that is being applied, whose lock is lost while somebody sees to the address
    attendant = Restorer(dead_port)

    def gate(_service: str, _operation: str) -> None:
        if attendant.asked:
            raise LockLostError("lost.")

    # then the change is not made
    try:
        with pytest.raises(LockLostError):
            local(dead_port, attendant).gated(gate).client("dynamodb").list_tables()
    finally:
        attendant.end()
    assert attendant.asked == 1


def test_what_is_gone_ends_the_call_under_way_and_every_other_before_it_is_made(dead_port: int) -> None:
    attendant = Restorer(dead_port, is_gone=True)
    client = local(dead_port, attendant).client("dynamodb")
    for _ in range(2):
        with pytest.raises(TargetError, match="it is gone"):
            client.list_tables()
    assert attendant.asked == 1


def test_what_others_than_boto3_ask_is_asked_again_too(dead_port: int) -> None:
    answers: list[AwsError | str] = [AwsError("broken off."), AwsError("broken off."), "content"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    attendant = Restorer(dead_port)
    try:
        assert local(dead_port, attendant).answered(call) == "content"
        # but not what was answered, if with a refusal, nor where nobody restores anything
        for aws, error in (
            (local(dead_port, attendant), AwsError("no.", code="403")),
            (local(dead_port), AwsError("no.")),
        ):
            answers[:] = [error, "never asked"]
            with pytest.raises(AwsError, match="no"):
                aws.answered(call)
    finally:
        attendant.end()
    assert attendant.asked == 2
