"""Launches machines in an emulated EC2 as the guard does."""

import base64
import json
from collections.abc import Mapping
from typing import Any

TEMPLATE_DATA: dict[str, Any] = {
    "ImageId": "ami-0123456789abcdef0",
    "InstanceType": "g4dn.xlarge",
    "MetadataOptions": {"HttpTokens": "required"},
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "gpupipe:stack", "Value": "demo-dev"}]}],
}


def launch(
    ec2: Any, *, name: str, data: Mapping[str, Any] = TEMPLATE_DATA, market: str = "on-demand", token: str = ""
) -> str:
    """One machine from the launch template `name`, which is made if it is not there; returns its id."""
    if not ec2.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": [name]}])[
        "LaunchTemplates"
    ]:
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    answer = ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "$Latest"},
                "Overrides": [{"InstanceType": "g5.xlarge"}],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market},
        **({"ClientToken": token} if token else {}),
    )
    return str(answer["Instances"][0]["InstanceIds"][0])


def worker_template(behaviour: str, **settings: Any) -> dict[str, Any]:
    """Template data whose user data holds a worker's settings, as the launch template kind writes them."""
    worker = json.dumps({"max_processing_hours": 1, **settings})
    files = {"write_files": [{"path": "/etc/gpupipe/worker.json", "content": worker, "permissions": "0644"}]}
    user_data = base64.b64encode(f"#cloud-config\n{json.dumps(files)}".encode()).decode()
    return {**TEMPLATE_DATA, "UserData": user_data, "InstanceInitiatedShutdownBehavior": behaviour}
