"""Bucket: what it keeps of others, whose it is, and how it is emptied."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from tests.resources.contract import Stacks, assert_as_wanted, recorded
from tests.resources.refusing import Refusal, answering, refusing
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.errors import NotOursError
from gpupipe.resources.bucket import Bucket, LifecycleRule
from gpupipe.resources.ownership import tag_map


@pytest.fixture
def bucket(stacks: Stacks) -> Bucket:
    return Samples(stacks.mine).bucket()


def test_it_is_private_encrypted_versioned_and_tls_only(aws: Aws, bucket: Bucket) -> None:
    bucket.create(aws)

    s3, target = aws.client("s3"), {"Bucket": bucket.name}
    blocks = s3.get_public_access_block(**target)["PublicAccessBlockConfiguration"]
    assert set(blocks.values()) == {True}
    assert len(blocks) == 4
    assert s3.get_bucket_versioning(**target)["Status"] == "Enabled"
    ownership = s3.get_bucket_ownership_controls(**target)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    rule = s3.get_bucket_encryption(**target)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(s3.get_bucket_policy(**target)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(statement["Resource"]) == {bucket.arn, f"{bucket.arn}/*"}


def test_lifecycle_rules_as_s3_takes_them() -> None:
    days = LifecycleRule(id="logs", prefix="logs/", expire_days=30, old_versions_days=7).to_api()
    rest = LifecycleRule(id="rest", old_versions_days=30, abort_uploads_days=7).to_api()

    assert days["Expiration"] == {"Days": 30}
    assert days["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert rest["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    assert rest["Filter"] == {"Prefix": ""}
    assert rest["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_every_call_names_the_account_that_must_own_the_bucket(aws: Aws, bucket: Bucket) -> None:
    named: list[tuple[str, bool]] = []

    def note(params: dict[str, object], model: object, **_: object) -> None:
        named.append((model.name, params.get("ExpectedBucketOwner") == bucket.stack.account))  # type: ignore[attr-defined]

    events = aws.client("s3").meta.events
    events.register("provide-client-params.s3", note)
    try:
        bucket.create(aws)
        bucket.update(aws, frozenset(bucket.desired()))
        bucket.empty(aws, lambda text: None)
        bucket.delete(aws)
    finally:
        events.unregister("provide-client-params.s3", note)

    # There is no owner to expect yet of what is only just created, nor of a list.
    assert {operation for operation, owner in named if not owner} == {"CreateBucket"}
    assert len(named) > 20


def test_a_drifted_setting_is_seen_and_put_back(aws: Aws, bucket: Bucket) -> None:
    bucket.create(aws)
    aws.client("s3").delete_public_access_block(Bucket=bucket.name)
    aws.client("s3").put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})

    observed = bucket.observe(aws)
    assert observed is not None
    assert (observed.fields["private"], observed.fields["versioning"]) == (False, "Suspended")
    bucket.update(aws, frozenset({"private", "versioning"}))

    assert_as_wanted(aws, bucket)


def test_tags_and_policy_statements_of_others_stay(aws: Aws, bucket: Bucket) -> None:
    bucket.create(aws)
    s3 = aws.client("s3")
    tags = s3.get_bucket_tagging(Bucket=bucket.name)["TagSet"]
    s3.put_bucket_tagging(Bucket=bucket.name, Tagging={"TagSet": [*tags, {"Key": "cost", "Value": "7"}]})
    document = json.loads(s3.get_bucket_policy(Bucket=bucket.name)["Policy"])
    document["Statement"].append(
        {
            "Sid": "Colleague",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
            "Action": "s3:GetObject",
            "Resource": f"{bucket.arn}/processed/*",
        }
    )
    s3.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(document))
    assert_as_wanted(aws, bucket)

    bucket.update(aws, frozenset({"tags", "policy"}))

    statements = json.loads(s3.get_bucket_policy(Bucket=bucket.name)["Policy"])["Statement"]
    assert {statement["Sid"] for statement in statements} == {"Colleague", "TlsOnly"}
    assert tag_map(s3.get_bucket_tagging(Bucket=bucket.name)["TagSet"])["cost"] == "7"


def test_an_empty_bucket_without_tags_is_one_that_a_killed_call_made(aws: Aws, bucket: Bucket) -> None:
    aws.client("s3").create_bucket(Bucket=bucket.name)

    bucket.create(aws)

    assert_as_wanted(aws, bucket)


def test_a_bucket_without_tags_that_holds_something_is_not_ours(aws: Aws, bucket: Bucket) -> None:
    aws.client("s3").create_bucket(Bucket=bucket.name)
    aws.client("s3").put_object(Bucket=bucket.name, Key="theirs", Body=b"x")

    with pytest.raises(NotOursError, match="was not made by gpupipe"):
        bucket.create(aws)


def test_a_name_that_another_account_holds_is_not_ours(aws: Aws, bucket: Bucket) -> None:
    def deny(operation: str) -> Refusal | None:
        return None if operation == "ListBuckets" else Refusal("AccessDenied")

    with answering(aws, "s3", deny), pytest.raises(NotOursError, match="belongs to another AWS account"):
        bucket.create(aws)


def test_a_bucket_of_this_account_that_may_not_be_read_is_said_as_such(aws: Aws, bucket: Bucket) -> None:
    bucket.create(aws)

    with refusing(aws, "s3", "GetBucketPolicy", "AccessDenied"), pytest.raises(ClientError, match="GetBucketPolicy"):
        bucket.observe(aws)


def test_a_change_that_s3_is_too_busy_for_is_tried_again(aws: Aws, bucket: Bucket) -> None:
    busy = "A conflicting conditional operation is currently in progress against this resource. Please try again."

    with refusing(aws, "s3", "PutBucketPolicy", "OperationAborted", busy) as calls:
        bucket.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, bucket)


def test_a_region_that_takes_no_tags_with_a_new_bucket_gets_them_after(aws: Aws, bucket: Bucket) -> None:
    with refusing(aws, "s3", "CreateBucket", "UnsupportedArgument") as calls:
        bucket.create(aws)

    assert len(calls) == 2
    assert_as_wanted(aws, bucket)


def test_outside_us_east_1_the_region_is_told(aws: Aws, bucket: Bucket) -> None:
    stack = replace(bucket.stack, region="eu-west-1")
    bucket = replace(bucket, stack=stack, name=stack.data_bucket("segment"))
    there = Aws(stack=stack, credentials=aws.credentials)

    bucket.create(there)

    location = there.client("s3").get_bucket_location(Bucket=bucket.name)
    assert location["LocationConstraint"] == "eu-west-1"


def test_find_leaves_the_state_bucket_and_other_regions_alone(aws: Aws, bucket: Bucket) -> None:
    bucket.create(aws)
    replace(bucket, name=bucket.stack.state_bucket).create(aws)

    assert [found.name for found in Bucket.find(aws)] == [bucket.name]


def test_emptying_what_is_gone_or_empty_is_quiet(aws: Aws, bucket: Bucket) -> None:
    told: list[str] = []
    bucket.empty(aws, told.append)
    bucket.create(aws)
    with recorded(aws) as calls:
        bucket.empty(aws, told.append)

    assert told == []
    assert "DeleteObjects" not in calls
