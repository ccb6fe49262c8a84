"""Security group of the machines: nothing comes in, unless SSH is asked for; everything may go out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.errors import AwsError
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of, tag_list, tag_map
from gpuworker.contract import TAG_VPC

DEFAULT_VPC = "default"
# A machine's network interface goes some time after the machine.
IN_USE = ("DependencyViolation",)
IN_USE_S = 300.0
# EC2 is eventually consistent: a group made just now may be unknown for a few seconds.
NOT_YET = ("InvalidGroup.NotFound",)
NOT_YET_S = 30.0

Group = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ingress:
    """One TCP port, open to one range of addresses."""

    port: int
    cidr: str
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class SecurityGroup(Resource):
    """A group in the default VPC or in the one named."""

    kind: ClassVar[str] = "security group"
    phase: ClassVar[Phase] = Phase.NETWORK
    immutable: ClassVar[frozenset[str]] = frozenset({"vpc"})

    vpc_id: str = ""
    """"" is the default VPC."""
    ingress: tuple[Ingress, ...] = ()

    def desired(self) -> Fields:
        wanted = [_readable(f"tcp {one.port}", one.cidr, one.description) for one in self.ingress]
        return {"tags": self.tags, "vpc": self.vpc_id or DEFAULT_VPC, "ingress": _ordered(wanted)}

    def observe(self, aws: Aws) -> Observed | None:
        group = self._group(aws)
        if group is None:
            return None
        tags = tag_map(group.get("Tags"))
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            fields={
                "tags": self.tags_of(tags),
                "vpc": tags.get(TAG_VPC, group["VpcId"]),
                "ingress": _ordered(rule for one in group["IpPermissions"] for rule in _rules(one)),
            },
        )

    def id_of(self, aws: Aws) -> str:
        """`sg-…`, or "" while it is not there. One read."""
        group = self._group(aws)
        return str(group["GroupId"]) if group else ""

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        tags = {**self.tags, "Name": self.name, TAG_VPC: self.vpc_id or DEFAULT_VPC}
        answer = aws.client("ec2").create_security_group(
            GroupName=self.name,
            Description=f"gpupipe {self.stack.id}: machines",
            VpcId=self.vpc_id or _default_vpc(aws),
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tag_list(tags)}],
        )
        self._put_ingress(aws, answer["GroupId"], permissions=[])

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        group = self._group(aws)
        if group is None:
            return
        if "tags" in changed:
            aws.client("ec2").create_tags(Resources=[group["GroupId"]], Tags=tag_list(self.tags))
        if "ingress" in changed:
            self._put_ingress(aws, group["GroupId"], permissions=group["IpPermissions"])

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is None:
            return
        group_id, delete = self.id_of(aws), aws.client("ec2").delete_security_group

        def deleted(**arguments: Any) -> Any:
            return aws.retried(delete, codes=IN_USE, within_s=IN_USE_S, **arguments)

        if group_id:
            absent_ok(deleted, GroupId=group_id)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        filters = [{"Name": f"tag:{TAG_STACK}", "Values": [aws.stack.id]}]
        for page in aws.client("ec2").get_paginator("describe_security_groups").paginate(Filters=filters):
            for group in page["SecurityGroups"]:
                tags = tag_map(group["Tags"])
                yield found(cls(stack=aws.stack, name=group["GroupName"], pipeline=pipeline_of(tags)), tags)

    def _group(self, aws: Aws) -> Group | None:
        """The group of this name: ours in whatever VPC it is, else the one that takes our name where it must be."""
        filters = [{"Name": "group-name", "Values": [self.name]}]
        groups = aws.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
        for group in groups:
            if tag_map(group.get("Tags")).get(TAG_STACK) == self.stack.id:
                return dict(group)
        if not groups:
            return None
        vpc = self.vpc_id or _default_vpc(aws)
        return next((dict(group) for group in groups if group["VpcId"] == vpc), None)

    def _put_ingress(self, aws: Aws, group_id: str, *, permissions: list[dict[str, Any]]) -> None:
        ec2 = aws.client("ec2")
        """Take away what is not wanted, then let in what is missing. `permissions` are those in force."""
        wanted = self.desired()["ingress"]
        unwanted = [_single(one, rule) for one in permissions for rule in _rules(one) if rule not in wanted]
        if unwanted:
            ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=unwanted)
        there = [rule for one in permissions for rule in _rules(one)]
        missing = [
            _permission(one)
            for one in self.ingress
            if _readable(f"tcp {one.port}", one.cidr, one.description) not in there
        ]
        if missing:
            authorize = partial(aws.retried, ec2.authorize_security_group_ingress, codes=NOT_YET, within_s=NOT_YET_S)
            authorize(GroupId=group_id, IpPermissions=missing)


def _default_vpc(aws: Aws) -> str:
    vpcs = aws.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise AwsError(
            f"there is no default VPC in {aws.stack.region}.",
            hint="Make one with `aws ec2 create-default-vpc`, or name yours in gpupipe.toml: "
            "`network.vpc_id` and `network.subnet_ids`.",
        )
    return str(vpcs[0]["VpcId"])


def _permission(ingress: Ingress) -> dict[str, Any]:
    ranges = {"Description": ingress.description} if ingress.description else {}
    ports = {"IpProtocol": "tcp", "FromPort": ingress.port, "ToPort": ingress.port}
    if ":" in ingress.cidr:
        return {**ports, "Ipv6Ranges": [{"CidrIpv6": ingress.cidr, **ranges}]}
    return {**ports, "IpRanges": [{"CidrIp": ingress.cidr, **ranges}]}


# EC2 gathers the sources of one port in one permission, in four lists: list -> the key that names the source.
_SOURCES = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
    "UserIdGroupPairs": "GroupId",
}


def _rules(permission: Mapping[str, Any]) -> list[dict[str, str]]:
    """A permission taken apart into readable rules, one a source."""
    return [
        _readable(_ports(permission), source[key], source.get("Description", ""))
        for ranges, key in _SOURCES.items()
        for source in permission.get(ranges, [])
    ]


def _single(permission: Mapping[str, Any], rule: Mapping[str, str]) -> dict[str, Any]:
    """The permission with only the source that `rule` is about."""
    ports = {name: permission[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in permission}
    for ranges, key in _SOURCES.items():
        for source in permission.get(ranges, []):
            if source[key] == rule["from"]:
                return {**ports, ranges: [source]}
    return ports


def _ports(permission: Mapping[str, Any]) -> str:
    protocol = permission["IpProtocol"]
    if protocol == "-1":
        return "all"
    first, last = permission.get("FromPort"), permission.get("ToPort")
    return f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}"


def _readable(ports: str, source: str, description: str) -> dict[str, str]:
    return {"ports": ports, "from": source, "description": description}


def _ordered(rules: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rules, key=lambda rule: tuple(rule.values()))
