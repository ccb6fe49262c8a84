"""The machines of a `queue` pipeline: what the guard launches them from, and what they are told and allowed."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gpupipe.kinds.queue.parts import Parts
from gpupipe.kinds.queue.roles import worker_role
from gpupipe.names import Stack
from gpupipe.resources import Resource
from gpupipe.resources.instance_profile import InstanceProfile
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.security_group import Ingress, SecurityGroup
from gpuworker.contract import WorkerSettings

IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
WORKER_SETTINGS_FILE = "/etc/gpupipe/worker.json"
SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The launch template, and all that it needs with it."""

    template: LaunchTemplate
    all: tuple[Resource, ...]


def machines_of(parts: Parts) -> Machines:
    """No machine: that is made by the guard, when there is work."""
    stack, pipeline, compute = parts.stack, parts.pipeline, parts.settings.compute
    log = parts.log_group(stack.worker_log_group(pipeline))
    role = worker_role(parts, log)
    profile = InstanceProfile(stack=stack, pipeline=pipeline, name=role.name, role=role)
    group = _security_group(parts)
    template = LaunchTemplate(
        stack=stack,
        pipeline=pipeline,
        name=stack.launch_template(pipeline),
        image=IMAGE,
        profile=profile,
        security_group=group,
        volume_gb=compute.volume_gb,
        user_data=_user_data(_worker_settings(parts, log)),
        on_shutdown=compute.on_idle,
        key_name=parts.settings.ssh.key_name,
        machine_tags=machine_tags(stack, pipeline),
    )
    return Machines(template=template, all=(log, role, profile, group, template))


def _security_group(parts: Parts) -> SecurityGroup:
    """No way in, unless SSH was asked for. A group cannot move to another network, so that is part of its name."""
    network = parts.settings.network.vpc_id
    name = parts.name("worker") + (f"-{network}" if network else "")
    ingress = tuple(Ingress(port=SSH_PORT, cidr=cidr, description="SSH") for cidr in parts.settings.ssh.allowed_cidrs)
    return SecurityGroup(stack=parts.stack, pipeline=parts.pipeline, name=name, vpc_id=network, ingress=ingress)


def machine_tags(stack: Stack, pipeline: str) -> dict[str, str]:
    """Of every machine, its volumes and network interfaces; the guard sets them too."""
    tags = stack.tags(f"machine/{pipeline}", pipeline=pipeline)
    return {**tags, "Name": f"{stack.id}-{pipeline}"}


def _worker_settings(parts: Parts, log: LogGroup) -> WorkerSettings:
    stack, settings = parts.stack, parts.settings
    return WorkerSettings(
        stack=stack.id,
        pipeline=parts.pipeline,
        region=stack.region,
        account=stack.account,
        bucket=parts.bucket.name,
        queue_url=parts.work_url,
        table=parts.table.name,
        log_group=log.name,
        task=settings.task,
        task_options=settings.task_options.model_dump(mode="json"),
        idle_minutes=settings.compute.idle_minutes,
        max_processing_hours=settings.compute.max_processing_hours,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_receives=settings.max_receives,
        item_timeout_s=settings.item_timeout_s,
        model=parts.model,
    )


def _user_data(worker: WorkerSettings) -> str:
    """cloud-init's document; JSON is YAML. Names and limits only: every process of a machine can read it."""
    file = {"path": WORKER_SETTINGS_FILE, "permissions": "0644", "content": worker.to_json()}
    return "#cloud-config\n" + json.dumps({"write_files": [file]}, sort_keys=True)
