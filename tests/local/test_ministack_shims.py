"""What the shims mend works, and is still broken without them: once ministack mends it, its second test fails."""

import importlib
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.clients import Client
from tests.local.functions import deploy, logged
from tests.local.waiting import until

from gpupipe.local.emulators import Emulators
from gpupipe.local.ministack_shims import DLAMI_ID


def unmended(module: str) -> Any:
    """A module of ministack as it comes."""
    return importlib.import_module(f"ministack.services.{module}")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


# --- ExpectedBucketOwner -------------------------------------------------------------------------------------------


def test_bucket_of_another_owner_is_refused(client: Client, local: Emulators) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="owned")
    s3.put_object(Bucket="owned", Key="k", Body=b"1", ExpectedBucketOwner=local.account.account_id)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="owned", Key="k", Body=b"2", ExpectedBucketOwner="111111111111")
    assert code_of(error) == "AccessDenied"
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket="owned", Key="k", ExpectedBucketOwner="111111111111")
    assert code_of(error) == "403"


def test_ministack_itself_does_not_look_at_the_expected_owner() -> None:
    source = unmended("s3").__loader__.get_source("ministack.services.s3").replace("x-amz-source-expected", "")
    assert "x-amz-expected-bucket-owner" not in source


# --- secrets without a value ---------------------------------------------------------------------------------------


def test_a_secret_has_no_value_until_it_is_set(client: Client) -> None:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="unset")
    assert not secrets.describe_secret(SecretId="unset").get("VersionIdsToStages")
    with pytest.raises(ClientError) as error:
        secrets.get_secret_value(SecretId="unset")
    assert code_of(error) == "ResourceNotFoundException"
    secrets.put_secret_value(SecretId="unset", SecretString="value")
    assert secrets.get_secret_value(SecretId="unset")["SecretString"] == "value"
    assert secrets.describe_secret(SecretId="unset")["VersionIdsToStages"]


def test_ministack_itself_takes_no_value_for_one() -> None:
    secretsmanager = unmended("secretsmanager")
    secretsmanager._store_new_secret("unset-here")
    assert secretsmanager._secrets["unset-here"]["Versions"]


# --- redrive ---------------------------------------------------------------------------------------------------------


def test_redrive_moves_dead_messages_back_with_a_fresh_count(client: Client, local: Emulators) -> None:
    # given a message that died after one receive
    sqs = client("sqs")
    dead = sqs.create_queue(QueueName="redrive-dead")["QueueUrl"]
    dead_arn = f"arn:aws:sqs:us-east-1:{local.account.account_id}:redrive-dead"
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    work = sqs.create_queue(QueueName="redrive-work", Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})[
        "QueueUrl"
    ]
    sqs.send_message(QueueUrl=work, MessageBody="shard")
    assert sqs.receive_message(QueueUrl=work)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=work)
    # when it is redriven
    sqs.start_message_move_task(SourceArn=dead_arn)
    # then it is back, with all its tries
    message = sqs.receive_message(QueueUrl=work, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]
    assert message["Body"] == "shard"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in sqs.receive_message(QueueUrl=dead)
    task = sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def test_redrive_to_a_named_queue_takes_what_was_put_there_by_hand(client: Client, local: Emulators) -> None:
    sqs = client("sqs")
    arn = f"arn:aws:sqs:us-east-1:{local.account.account_id}:"
    source = sqs.create_queue(QueueName="by-hand")["QueueUrl"]
    target = sqs.create_queue(QueueName="elsewhere")["QueueUrl"]
    sqs.send_message(QueueUrl=source, MessageBody="1")
    sqs.start_message_move_task(SourceArn=arn + "by-hand", DestinationArn=arn + "elsewhere")
    assert sqs.receive_message(QueueUrl=target)["Messages"][0]["Body"] == "1"


def test_redrive_of_a_missing_queue_is_refused(client: Client, local: Emulators) -> None:
    with pytest.raises(ClientError) as error:
        client("sqs").start_message_move_task(SourceArn=f"arn:aws:sqs:us-east-1:{local.account.account_id}:no")
    assert code_of(error) == "ResourceNotFoundException"


def test_ministack_itself_has_no_redrive() -> None:
    assert {"StartMessageMoveTask", "ListMessageMoveTasks"}.isdisjoint(unmended("sqs")._HANDLERS)


# --- batching window -------------------------------------------------------------------------------------------------


def test_burst_reaches_the_function_as_one_batch(client: Client, local: Emulators) -> None:
    # given a function that is called with what came within a second
    account = local.account.account_id
    deploy(client, account, "counts", "def handler(event, context):\n    print('BATCH', len(event['Records']))\n")
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="burst", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    client("lambda").create_event_source_mapping(
        FunctionName="counts",
        EventSourceArn=f"arn:aws:sqs:us-east-1:{account}:burst",
        BatchSize=1000,
        MaximumBatchingWindowInSeconds=2,
    )
    # when 40 messages come within that time
    for start in range(0, 40, 10):
        entries = [{"Id": str(number), "MessageBody": "x"} for number in range(start, start + 10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
        time.sleep(0.1)
    # then it is called once
    assert until(lambda: logged(client, "counts", "BATCH")) == ["BATCH 40"]


def test_ministack_itself_gives_ten_at_once_and_waits_for_nothing() -> None:
    source = unmended("sqs").__loader__.get_source("ministack.services.sqs")
    assert "max_n = min(int(max_number or 1), 10)" in source
    whole = unmended("lambda_svc").__loader__.get_source("ministack.services.lambda_svc")
    poller = whole[whole.index("def _poll_sqs") : whole.index("def _run_sqs_batch")]
    assert "MaximumBatchingWindowInSeconds" not in poller


# --- S3: a range of a version ---------------------------------------------------------------------------------------


def test_range_of_an_older_version_is_a_part_of_it(client: Client) -> None:
    # given an object with two versions
    s3 = client("s3")
    s3.create_bucket(Bucket="ranges")
    s3.put_bucket_versioning(Bucket="ranges", VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket="ranges", Key="k", Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket="ranges", Key="k", Body=b"abc")
    # when a range of the older one is asked for
    answer = s3.get_object(Bucket="ranges", Key="k", VersionId=old, Range="bytes=2-4")
    # then it is that
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["ContentRange"]) == (206, "bytes 2-4/10")
    assert answer["Body"].read() == b"234"
    assert s3.get_object(Bucket="ranges", Key="k", VersionId=old)["Body"].read() == b"0123456789"


def test_ministack_itself_sends_all_of_a_version() -> None:
    whole = unmended("s3").__loader__.get_source("ministack.services.s3")
    reader = whole[whole.index("def _get_object(") : whole.index("def _append_object_parts")]
    assert reader.index("return 200, resp_headers, body") < reader.index("range_header")


# --- deep learning AMI ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["ubuntu-24.04", "ubuntu-22.04", "amazon-linux-2023"])
def test_deep_learning_image_is_found(client: Client, system: str) -> None:
    name = f"/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-{system}/latest/ami-id"
    assert client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == DLAMI_ID


def test_ministack_itself_knows_no_deep_learning_image() -> None:
    assert not [name for name in unmended("ssm")._PUBLIC_AMI_PARAMETERS if "deeplearning" in name]


# --- _url_encoded --------------------------------------------------------------------------------------------------

ODD = ("a\x1b.jpg", "a&b<c>\"d'.jpg", "ä+b c%20.jpg", "x/y.jpg")


def test_versions_of_any_key_are_listed_and_the_bucket_can_be_emptied(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="odd-keys")
    s3.put_bucket_versioning(Bucket="odd-keys", VersioningConfiguration={"Status": "Enabled"})
    for key in ODD:
        s3.put_object(Bucket="odd-keys", Key=key, Body=b"1")
    s3.delete_object(Bucket="odd-keys", Key=ODD[-1])
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket="odd-keys", PaginationConfig={"PageSize": 2}))
    found = [one for page in pages for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]
    assert sorted(one["Key"] for one in found) == sorted([*ODD, ODD[-1]])
    for one in found:
        s3.delete_object(Bucket="odd-keys", Key=one["Key"], VersionId=one["VersionId"])
    s3.delete_bucket(Bucket="odd-keys")


def test_ministack_itself_lists_keys_as_they_are() -> None:
    s3 = unmended("s3")
    s3._create_bucket("as-they-are", b"", {})
    s3._put_object("as-they-are", "a b.jpg", b"1", {})
    _, _, body = s3._list_object_versions("as-they-are", {"encoding-type": "url"})
    assert b"<Key>a b.jpg</Key>" in body
    assert b"EncodingType" not in body
