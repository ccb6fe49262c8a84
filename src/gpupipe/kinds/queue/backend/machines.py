"""EC2's machines as the guard handles them: described, launched by a fleet request, started, stopped, given up."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.actions import Refusal
from gpupipe.functions.context import Context
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.backend.view import Ec2Instance
from gpuworker.contract import TAG_PIPELINE, TAG_STACK, TAG_TEMPLATE, error_code, error_message

NO_ROOM = ("InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacityOnOutpost", "Unsupported")
NOT_NOW = ("IncorrectInstanceState", "IncorrectSpotRequestState", "InvalidInstanceID.NotFound")
QUOTA_CODES = frozenset({"VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"})
OVERRIDES_MAX = 300


@dataclass(frozen=True, kw_only=True)
class Template:
    """The launch template's default version."""

    version: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Launched:
    """The answer to a fleet request: machines, refusals, or some of both."""

    instances: Sequence[Ec2Instance] = ()
    refusals: Sequence[Refusal] = ()


# --- what there is ---


def instances(ctx: Context[QueueSettings]) -> list[Ec2Instance]:
    """This pipeline's machines, those just terminated included."""
    settings = ctx.settings
    filters = [
        {"Name": f"tag:{TAG_STACK}", "Values": [settings.stack]},
        {"Name": f"tag:{TAG_PIPELINE}", "Values": [settings.pipeline]},
    ]
    pages = ctx.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return [_instance(one) for page in pages for group in page["Reservations"] for one in group["Instances"]]


def _instance(one: Mapping[str, Any]) -> Ec2Instance:
    tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
    return Ec2Instance(
        machine=one["InstanceId"],
        state=one["State"]["Name"],
        instance_type=one["InstanceType"],
        zone=one.get("Placement", {}).get("AvailabilityZone", ""),
        market=one.get("InstanceLifecycle", "on-demand"),
        launched_at=one["LaunchTime"].timestamp(),
        template=tags.get(TAG_TEMPLATE, ""),
        stopped_at=_moment(one.get("StateTransitionReason", "")),
        reason=one.get("StateReason", {}).get("Message", ""),
    )


def _moment(text: str) -> float | None:
    """The time in `User initiated (2026-11-21 12:21:44 GMT)`."""
    found = re.search(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", text)
    return float(calendar.timegm(time.strptime(found[1], "%Y-%m-%d %H:%M:%S"))) if found else None


def template(ctx: Context[QueueSettings]) -> Template | None:
    """What a machine would be launched from now; None where `up` has not made it."""
    name = ctx.settings.launch_template
    try:
        answer = ctx.client("ec2").describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Default"])
    except Exception as error:
        if "InvalidLaunchTemplate" not in error_code(error):
            raise
        return None
    if not answer["LaunchTemplateVersions"]:
        return None
    version = answer["LaunchTemplateVersions"][0]
    specifications = version["LaunchTemplateData"].get("TagSpecifications", ())
    tags = {tag["Key"]: tag["Value"] for one in specifications for tag in one["Tags"]}
    number = str(version["VersionNumber"])
    return Template(version=number, fingerprint=tags.get(TAG_TEMPLATE, f"{version['LaunchTemplateId']}:{number}"))


# --- making more ---


def launch(ctx: Context[QueueSettings], made_from: Template, count: int) -> Launched:
    """Up to `count` machines over all types and zones at once: exhausted capacity moves on by itself."""
    settings, now = ctx.settings, ctx.clock()
    zones = _subnets_by_zone(ctx)
    if not zones:
        message = "There is no default VPC with subnets: set network.vpc_id and network.subnet_ids."
        return Launched(refusals=[Refusal(instance_type="", zone="", code="NoSubnets", message=message, at=now)])
    tags = [{"Key": key, "Value": value} for key, value in {**settings.tags, **_our_tags(ctx, made_from)}.items()]
    request: dict[str, Any] = {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": settings.launch_template,
                    "Version": made_from.version,
                },
                "Overrides": _overrides(settings.instance_types, zones),
            }
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": count,
            "DefaultTargetCapacityType": settings.market,
        },
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "fleet")],
    }
    if settings.market == "spot":
        request["SpotOptions"] = {"AllocationStrategy": "price-capacity-optimized"}
    else:
        request["OnDemandOptions"] = {"AllocationStrategy": "prioritized"}
    try:
        answer = ctx.client("ec2").create_fleet(**request)
    except Exception as error:
        if not error_code(error):
            raise
        return Launched(refusals=[_refusal_of(error, ", ".join(settings.instance_types), "", now)])
    return _launched(answer, {subnet: zone for zone, subnet in zones.items()}, made_from, now)


def _our_tags(ctx: Context[QueueSettings], made_from: Template) -> dict[str, str]:
    settings = ctx.settings
    return {TAG_STACK: settings.stack, TAG_PIPELINE: settings.pipeline, TAG_TEMPLATE: made_from.fingerprint}


def _subnets_by_zone(ctx: Context[QueueSettings]) -> dict[str, str]:
    """One subnet a zone; a fleet request refuses two of the same zone."""
    wanted = list(ctx.settings.subnet_ids)
    arguments = {"SubnetIds": wanted} if wanted else {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
    subnets = ctx.client("ec2").describe_subnets(**arguments)["Subnets"]
    by_zone: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda one: (wanted.index(one["SubnetId"]) if wanted else 0, one["SubnetId"])):
        by_zone.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    return dict(sorted(by_zone.items()))


def _overrides(types: Sequence[str], zones: Mapping[str, str]) -> list[dict[str, Any]]:
    pools = [
        {"InstanceType": name, "SubnetId": subnet, "Priority": float(priority)}
        for priority, name in enumerate(types)
        for subnet in zones.values()
    ]
    return pools[:OVERRIDES_MAX]


def _launched(answer: Mapping[str, Any], zones: Mapping[str, str], made_from: Template, now: float) -> Launched:
    machines = [
        Ec2Instance(
            machine=machine,
            state="pending",
            instance_type=group["InstanceType"],
            zone=_zone(group, zones),
            market=group.get("Lifecycle", "on-demand"),
            launched_at=now,
            template=made_from.fingerprint,
        )
        for group in answer.get("Instances", ())
        for machine in group["InstanceIds"]
    ]
    refusals = [
        Refusal(
            instance_type=_overridden(error).get("InstanceType", ""),
            zone=_zone(error, zones),
            code=error["ErrorCode"],
            message=error["ErrorMessage"],
            at=now,
        )
        for error in answer.get("Errors", ())
    ]
    return Launched(instances=machines, refusals=refusals)


def _overridden(part: Mapping[str, Any]) -> Mapping[str, Any]:
    overrides: Mapping[str, Any] = part.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return overrides


def _zone(part: Mapping[str, Any], zones: Mapping[str, str]) -> str:
    overrides = _overridden(part)
    return str(overrides.get("AvailabilityZone") or zones.get(overrides.get("SubnetId", ""), ""))


# --- on and off ---


def start(ctx: Context[QueueSettings], machine: str) -> Refusal | None:
    """Start a stopped machine; what EC2 says where it does not."""
    try:
        ctx.client("ec2").start_instances(InstanceIds=[machine])
    except Exception as error:
        if error_code(error) in NOT_NOW:
            log.info("machine_not_startable_now", machine=machine, code=error_code(error))
        elif error_code(error):
            return _refusal_of(error, "", "", ctx.clock())
        else:
            raise
    return None


def stop(ctx: Context[QueueSettings], machine: str, *, terminate: bool) -> None:
    """Stop or terminate; one that is gone or not yet known is passed over, the next look sees it."""
    act = ctx.client("ec2").terminate_instances if terminate else ctx.client("ec2").stop_instances
    try:
        act(InstanceIds=[machine])
    except Exception as error:
        if error_code(error) not in NOT_NOW:
            raise


def _refusal_of(error: BaseException, instance_type: str, zone: str, now: float) -> Refusal:
    code, message = error_code(error), error_message(error)
    return Refusal(instance_type=instance_type, zone=zone, code=code, message=message, at=now)


def waiting_for(refusals: Sequence[Refusal], market: str) -> Iterator[tuple[str, str]]:
    """Why no machine came, as (code, plain words)."""
    codes = {refusal.code for refusal in refusals}
    if codes & QUOTA_CODES:
        quota = "L-3819A6DF" if market == "spot" else "L-DB2E81BA"
        yield (
            "quota",
            f"The account's limit of vCPUs for {market} G and VT instances is reached: ask for more of quota {quota} "
            "in the Service Quotas console (EC2); until then it is tried again every minute.",
        )
    no_room = [refusal for refusal in refusals if refusal.code in NO_ROOM or "Capacity" in refusal.code]
    if no_room:
        types = ", ".join(sorted({refusal.instance_type for refusal in no_room} - {""})) or "the machine"
        zones = ", ".join(sorted({refusal.zone for refusal in no_room} - {""})) or "this region"
        yield "capacity", f"AWS has no {types} to give in {zones} now; it is tried again every minute."
    others = [r for r in refusals if r not in no_room and r.code not in QUOTA_CODES]
    if no_room or codes & QUOTA_CODES:  # a type that some zones do not offer is not worth telling beside these
        others = [r for r in others if "not supported in your requested Availability Zone" not in r.message]
    for code, message in sorted({(refusal.code, refusal.message) for refusal in others}):
        yield "error", f"EC2 refused to start a machine: {code}: {message}"
