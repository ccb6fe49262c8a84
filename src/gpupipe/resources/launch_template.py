"""Launch template: what a machine is started from. One name; every change is a new version of it.

The image is resolved once, when a version is made, and stays in it: an `up` a month later does not replace machines
because AWS published a newer image, it only says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.errors import AwsError
from gpupipe.names import TAG_KEY, TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, content_hash
from gpupipe.resources.instance_profile import InstanceProfile
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of, tag_list, tag_map
from gpupipe.resources.role import Role
from gpupipe.resources.security_group import NOT_YET_S, SecurityGroup
from gpupipe.resources.waiting import until
from gpuworker.contract import TAG_TEMPLATE

DEFAULT = "$Default"
# Hop limit 2, or containers on the machine cannot reach the metadata service.
METADATA = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled"}
ROOT_DEVICE = "/dev/sda1"
TAGGED = ("instance", "volume", "network-interface")

Data = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LaunchTemplate(Resource):
    """How machines are started, all but type, zone and market, which the guard chooses each time."""

    kind: ClassVar[str] = "launch template"
    phase: ClassVar[Phase] = Phase.TEMPLATES

    image: str
    """`ami-…`, or the SSM parameter that names the newest (`/aws/service/…`)."""
    profile: InstanceProfile
    security_group: SecurityGroup
    volume_gb: int
    user_data: str
    on_shutdown: Literal["stop", "terminate"]
    key_name: str = ""
    machine_tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of machines, their volumes and network interfaces, besides those of the stack."""

    @property
    def fingerprint(self) -> str:
        """Changes when a machine that was started earlier is not as it would be started now."""
        return content_hash({name: value for name, value in self._content.items() if name != "tags"})

    def requires(self) -> tuple[Resource, ...]:
        return (self.profile, self.security_group)

    def desired(self) -> Fields:
        return {
            **self._content,
            "security_group": self.security_group.name,
            "encrypted": True,
            "metadata": METADATA,
            "tags": self._machine_tags,
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Three reads, at once: the default version, and what the group and the image's name stand for now."""
        version, group_id, newest = together(
            partial(self._version, aws), partial(self.security_group.id_of, aws), partial(self._newest_image, aws)
        )
        if version is None:
            return None
        data = version["LaunchTemplateData"]
        tags = _machine_tags(data)
        group = self.security_group.name if data.get("SecurityGroupIds") == [group_id] else "another"
        origin = _origin(version)
        pinned = data.get("ImageId", "")
        outdated = newest and newest != pinned and origin.get("image") == self.image
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            note=f"image {pinned}; {newest} is newer" if outdated else "",
            fields={
                "image": origin.get("image", pinned),
                "vpc": origin.get("vpc", ""),
                "security_group": group,
                **_fields(data),
                "tags": {key: value for key, value in tags.items() if key in self._machine_tags},
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        aws.client("ec2").create_launch_template(
            LaunchTemplateName=self.name,
            VersionDescription=self._origin,
            LaunchTemplateData=self._data(aws, self._resolve(aws)),
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": tag_list(self.tags)}],
        )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        """Make a version, make it the default, and delete those before it. The image stays, unless it is the change."""
        ours(self, aws)
        ec2, template = aws.client("ec2"), {"LaunchTemplateName": self.name}
        before = self._version(aws) or {}
        pinned = before.get("LaunchTemplateData", {}).get("ImageId", "")
        image = pinned if pinned and "image" not in changed else self._resolve(aws)
        answer = ec2.create_launch_template_version(
            **template, VersionDescription=self._origin, LaunchTemplateData=self._data(aws, image)
        )["LaunchTemplateVersion"]
        number = answer["VersionNumber"]
        ec2.modify_launch_template(**template, DefaultVersion=str(number))
        if "tags" in changed:
            ec2.create_tags(Resources=[answer["LaunchTemplateId"]], Tags=tag_list(self.tags))
        self._trim(ec2, keep=number)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("ec2").delete_launch_template, LaunchTemplateName=self.name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        stack = aws.stack
        filters = [{"Name": f"tag:{TAG_STACK}", "Values": [stack.id]}]
        role = Role(stack=stack, name="", service="", statements=())
        for page in aws.client("ec2").get_paginator("describe_launch_templates").paginate(Filters=filters):
            for template in page["LaunchTemplates"]:
                tags = tag_map(template["Tags"])
                met = cls(
                    stack=stack,
                    name=template["LaunchTemplateName"],
                    pipeline=pipeline_of(tags),
                    image="ami-0",
                    profile=InstanceProfile(stack=stack, name="", role=role),
                    security_group=SecurityGroup(stack=stack, name=""),
                    volume_gb=0,
                    user_data="",
                    on_shutdown="stop",
                )
                yield found(met, tags)

    @property
    def _content(self) -> dict[str, Any]:
        """What the template says, as far as it is known without asking AWS."""
        return {
            "image": self.image,
            "vpc": self.security_group.vpc_id,
            "profile": self.profile.name,
            "volume_gb": self.volume_gb,
            "user_data_sha256": _digest(self.user_data.encode()),
            "on_shutdown": self.on_shutdown,
            "key_name": self.key_name,
        }

    @property
    def _machine_tags(self) -> dict[str, str]:
        ours = {key: value for key, value in self.tags.items() if key != TAG_KEY}
        return {
            "Name": self.name,
            TAG_KEY: f"machine/{self.pipeline}",
            **self.machine_tags,
            **ours,
            TAG_TEMPLATE: self.fingerprint,
        }

    @property
    def _origin(self) -> str:
        """What a version's data does not tell: what its ids were looked up by. Kept as the version's description."""
        return json.dumps({"image": self.image, "vpc": self.security_group.vpc_id})

    def _data(self, aws: Aws, image: str) -> dict[str, Any]:
        volume = {
            "VolumeSize": self.volume_gb,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
        tags = tag_list(self._machine_tags)
        return {
            "ImageId": image,
            "IamInstanceProfile": {"Name": self.profile.name},
            "SecurityGroupIds": [self._group_id(aws)],
            "BlockDeviceMappings": [{"DeviceName": _root_device(aws, image), "Ebs": volume}],
            "MetadataOptions": METADATA,
            "InstanceInitiatedShutdownBehavior": self.on_shutdown,
            "UserData": base64.b64encode(self.user_data.encode()).decode(),
            "TagSpecifications": [{"ResourceType": resource, "Tags": tags} for resource in TAGGED],
            **({"KeyName": self.key_name} if self.key_name else {}),
        }

    def _group_id(self, aws: Aws) -> str:
        group = self.security_group
        until(
            lambda: bool(group.id_of(aws)),
            clock=aws.clock,
            what=f"security group {group.name}: there",
            within_s=NOT_YET_S,
        )
        return group.id_of(aws)

    def _version(self, aws: Aws) -> dict[str, Any] | None:
        answer = absent_ok(
            aws.client("ec2").describe_launch_template_versions, LaunchTemplateName=self.name, Versions=[DEFAULT]
        )
        versions = (answer or {}).get("LaunchTemplateVersions", [])
        return dict(versions[0]) if versions else None

    def _newest_image(self, aws: Aws) -> str:
        """The image that `image` stands for today; "" where the region does not know it."""
        if not self.image.startswith("/"):
            return self.image
        answer = absent_ok(aws.client("ssm").get_parameter, Name=self.image)
        return str(answer["Parameter"]["Value"]) if answer else ""

    def _resolve(self, aws: Aws) -> str:
        image = self._newest_image(aws)
        if not image:
            raise _no_image(aws, self.image)
        return image

    def _trim(self, ec2: Any, *, keep: int) -> None:
        pages = ec2.get_paginator("describe_launch_template_versions").paginate(LaunchTemplateName=self.name)
        numbers = [one["VersionNumber"] for page in pages for one in page["LaunchTemplateVersions"]]
        old = [str(number) for number in numbers if number != keep]
        if old:
            ec2.delete_launch_template_versions(LaunchTemplateName=self.name, Versions=old[:200])


def _root_device(aws: Aws, image: str) -> str:
    """The device that the image boots from: a volume given for another one would be an extra disk."""
    images = (absent_ok(aws.client("ec2").describe_images, ImageIds=[image]) or {}).get("Images", [])
    if not images and not aws.is_local:  # the emulator knows no images
        raise _no_image(aws, image)
    return str(images[0].get("RootDeviceName") or ROOT_DEVICE) if images else ROOT_DEVICE


def _no_image(aws: Aws, image: str) -> AwsError:
    return AwsError(
        f"there is no image {image} in {aws.stack.region}.",
        hint="Choose another region, or name an image of your own (`ami-…`).",
    )


def _fields(data: Data) -> dict[str, Any]:
    disks = [mapping["Ebs"] for mapping in data.get("BlockDeviceMappings", []) if "Ebs" in mapping]
    options = data.get("MetadataOptions", {})
    return {
        "profile": data.get("IamInstanceProfile", {}).get("Name", ""),
        "volume_gb": disks[0].get("VolumeSize", 0) if disks else 0,
        "encrypted": bool(disks) and all(disk.get("Encrypted") for disk in disks),
        "user_data_sha256": _digest(base64.b64decode(data.get("UserData", ""))),
        "on_shutdown": data.get("InstanceInitiatedShutdownBehavior", "stop"),
        "key_name": data.get("KeyName", ""),
        "metadata": {name: options.get(name) for name in METADATA},
    }


def _machine_tags(data: Data) -> dict[str, str]:
    specifications = {one["ResourceType"]: tag_map(one["Tags"]) for one in data.get("TagSpecifications", [])}
    return specifications.get("instance", {})


def _origin(version: Mapping[str, Any]) -> dict[str, str]:
    try:
        origin = json.loads(version.get("VersionDescription", ""))
    except ValueError:
        return {}  # a version that somebody made by hand
    return origin if isinstance(origin, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
