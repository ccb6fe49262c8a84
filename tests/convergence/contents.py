"""All that an account holds, asked service by service with plain boto3: another reader than the one under test."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from gpupipe.aws import Aws, is_absent

Contents = dict[str, Any]
"""Settings by `<service> <what> <name>`."""

# What two stacks made from one configuration do not share. AWS tells of a bucket's keys always, the emulator only where
# the encryption was set, as it is on a bucket that was made half.
_CHANCE = re.compile(
    r"(Timestamp|Etag|ETag|RevisionId|RoleId|InstanceProfileId|TableId|RequestId|HostId|VersionId|Bytes|CreationTime)$"
    r"|^(creationTime|date|ResponseMetadata|UUID|LastModified|CreateDate|CreationDate|ItemCount|Location)$"
    r"|^(Approximate|RoleLastUsed|LastModified|State(Updated|Transitioned)|LastProcessingResult|LastChangedDate|BucketKeyEnabled)"
)
_IDS = re.compile(
    r"\b(sg|sgr|lt|i|eni)-[0-9a-f]{8,17}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?<=:scalable-target/)\w+"
)
_BUCKET_SETTINGS = ("policy", "tagging", "versioning", "encryption", "lifecycle_configuration", "ownership_controls")


def contents(aws: Aws) -> Contents:
    """Of every service that a stack uses, everything in the account that names the stack."""
    found: Contents = {}
    for service, read in READERS.items():
        for what, settings in read(aws, aws.client(service)):
            plain = _plain(settings)
            if aws.stack.id in what or aws.stack.id in json.dumps(plain):
                found[f"{service} {_IDS.sub('#', what)}"] = plain
    return found


def differences(before: Contents, after: Contents) -> list[str]:
    """What is not the same, a line each."""
    names = sorted({*before, *after})
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in names if before.get(name) != after.get(name)]


def _plain(value: Any) -> Any:
    """As JSON values, without ids and times, lists in one order."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if not _CHANCE.search(str(key))}
    if isinstance(value, (list, tuple)):
        return sorted((_plain(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    if isinstance(value, str) and value[:1] in {"{", "["}:
        return _plain(json.loads(value))
    return _IDS.sub("#", value) if isinstance(value, str) else "a time" if isinstance(value, datetime) else value


def _all(client: Any, operation: str, key: str, **arguments: Any) -> list[Any]:
    """Of all pages, what is under `key`."""
    if client.can_paginate(operation):
        pages: Iterable[Any] = client.get_paginator(operation).paginate(**arguments)
        return [one for page in pages for one in page.get(key) or ()]
    return list(getattr(client, operation)(**arguments).get(key) or ())


def _or_none(call: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return call(**arguments)
    except ClientError as error:
        if not is_absent(error):
            raise
        return None


Reader = Callable[[Aws, Any], Iterator[tuple[str, Any]]]


def _buckets(aws: Aws, s3: Any) -> Iterator[tuple[str, Any]]:
    for bucket in (one["Name"] for one in s3.list_buckets()["Buckets"]):
        reads = [*(f"get_bucket_{name}" for name in _BUCKET_SETTINGS), "get_bucket_notification_configuration"]
        settings = {name: _or_none(getattr(s3, name), Bucket=bucket) for name in [*reads, "get_public_access_block"]}
        keys = {one["Key"]: True for one in _all(s3, "list_objects_v2", "Contents", Bucket=bucket)}
        yield f"bucket {bucket}", {**settings, "keys": keys}


def _queues(aws: Aws, sqs: Any) -> Iterator[tuple[str, Any]]:
    for url in _all(sqs, "list_queues", "QueueUrls"):
        settings = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        yield f"queue {url}", {**settings, "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags")}


def _tables(aws: Aws, dynamodb: Any) -> Iterator[tuple[str, Any]]:
    for name in _all(dynamodb, "list_tables", "TableNames"):
        table = dynamodb.describe_table(TableName=name)["Table"]
        tags = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]).get("Tags")
        lifetime = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        yield f"table {name}", {**table, "tags": tags, "lifetime": lifetime, "recovery": recovery}


def _functions(aws: Aws, functions: Any) -> Iterator[tuple[str, Any]]:
    for name in (one["FunctionName"] for one in _all(functions, "list_functions", "Functions")):
        whole = functions.get_function(FunctionName=name)
        policy = _or_none(functions.get_policy, FunctionName=name)
        invoking = _or_none(functions.get_function_event_invoke_config, FunctionName=name)
        settings = {"of": whole["Configuration"], "tags": whole.get("Tags"), "policy": policy, "invoking": invoking}
        yield f"function {name}", settings
    for mapping in _all(functions, "list_event_source_mappings", "EventSourceMappings"):
        yield f"event source {mapping['EventSourceArn']} of {mapping['FunctionArn']}", mapping


def _roles(aws: Aws, iam: Any) -> Iterator[tuple[str, Any]]:
    for role in _all(iam, "list_roles", "Roles"):
        name = role["RoleName"]
        inline = {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in _all(iam, "list_role_policies", "PolicyNames", RoleName=name)
        }
        attached = _all(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        whole = iam.get_role(RoleName=name)["Role"]
        yield f"role {name}", {"role": whole, "inline": inline, "attached": attached}
    for profile in _all(iam, "list_instance_profiles", "InstanceProfiles"):
        yield f"instance profile {profile['InstanceProfileName']}", profile
    for policy in _all(iam, "list_policies", "Policies", Scope="Local"):
        yield f"policy {policy['PolicyName']}", policy


def _log_groups(aws: Aws, logs: Any) -> Iterator[tuple[str, Any]]:
    for group in _all(logs, "describe_log_groups", "logGroups"):
        yield f"log group {group['logGroupName']}", group


def _schedules(aws: Aws, scheduler: Any) -> Iterator[tuple[str, Any]]:
    for one in _all(scheduler, "list_schedules", "Schedules"):
        yield f"schedule {one['Name']}", scheduler.get_schedule(Name=one["Name"], GroupName=one["GroupName"])


def _secrets(aws: Aws, secrets: Any) -> Iterator[tuple[str, Any]]:
    for one in _all(secrets, "list_secrets", "SecretList", IncludePlannedDeletion=True):
        yield f"secret {one['Name']}", one


def _topics(aws: Aws, sns: Any) -> Iterator[tuple[str, Any]]:
    for arn in (one["TopicArn"] for one in _all(sns, "list_topics", "Topics")):
        settings = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
        yield f"topic {arn}", {**settings, "tags": sns.list_tags_for_resource(ResourceArn=arn).get("Tags")}
    for one in _all(sns, "list_subscriptions", "Subscriptions"):
        yield f"subscription {one['TopicArn']} {one['Endpoint']}", one


def _alarms(aws: Aws, cloudwatch: Any) -> Iterator[tuple[str, Any]]:
    for one in _all(cloudwatch, "describe_alarms", "MetricAlarms"):
        yield f"alarm {one['AlarmName']}", {key: value for key, value in one.items() if not key.startswith("State")}


def _scaling(aws: Aws, scaling: Any) -> Iterator[tuple[str, Any]]:
    lists = {
        "describe_scalable_targets": "ScalableTargets",
        "describe_scaling_policies": "ScalingPolicies",
        "describe_scheduled_actions": "ScheduledActions",
    }
    for operation, key in lists.items():
        for one in _all(scaling, operation, key, ServiceNamespace="sagemaker"):
            name = one.get("PolicyName") or one.get("ScheduledActionName") or ""
            yield f"{key} {one['ResourceId']} {name}", one


def _sagemaker(aws: Aws, sagemaker: Any) -> Iterator[tuple[str, Any]]:
    for what, plural in {"model": "Models", "endpoint_config": "EndpointConfigs", "endpoint": "Endpoints"}.items():
        word = "".join(part.capitalize() for part in what.split("_"))
        for one in _all(sagemaker, f"list_{what}s", plural):
            name, arn = one[f"{word}Name"], one[f"{word}Arn"]
            whole = getattr(sagemaker, f"describe_{what}")(**{f"{word}Name": name})
            yield f"{what} {name}", {**whole, "tags": sagemaker.list_tags(ResourceArn=arn)["Tags"]}


def _machines(aws: Aws, ec2: Any) -> Iterator[tuple[str, Any]]:
    for template in _all(ec2, "describe_launch_templates", "LaunchTemplates"):
        name = template["LaunchTemplateName"]
        which = {"LaunchTemplateName": name, "Versions": ["$Default"]}  # a change adds a version and keeps the old
        (version,) = ec2.describe_launch_template_versions(**which)["LaunchTemplateVersions"]
        yield f"launch template {name}", {"tags": template.get("Tags"), "data": version["LaunchTemplateData"]}
    for group in _all(ec2, "describe_security_groups", "SecurityGroups"):
        yield f"security group {group['GroupName']}", group
    for reservation in _all(ec2, "describe_instances", "Reservations"):
        for one in reservation["Instances"]:
            if one["State"]["Name"] != "terminated":
                yield f"machine {one['InstanceId']}", one


READERS: Mapping[str, Reader] = {
    "s3": _buckets,
    "sqs": _queues,
    "dynamodb": _tables,
    "lambda": _functions,
    "iam": _roles,
    "logs": _log_groups,
    "scheduler": _schedules,
    "secretsmanager": _secrets,
    "sns": _topics,
    "cloudwatch": _alarms,
    "application-autoscaling": _scaling,
    "sagemaker": _sagemaker,
    "ec2": _machines,
}
