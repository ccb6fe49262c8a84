"""Plays EC2's machines: a worker process for each instance that the emulated EC2 says is running.

Twice a second it compares what EC2 says (`DescribeInstances` by our stack tag) with the machines' processes and acts
on the difference, so nothing depends on having seen an event: running without a process is booted, a process without
a running instance is ended, a machine that powered itself off is turned off in EC2 by its shutdown behaviour.
"""

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gpupipe.local.configuration import RunnerSettings
from gpupipe.local.runners.ec2.host import Boot, Host, HostState, read_hosts
from gpupipe.local.runners.ec2.metadata import InstanceFacts, MetadataService
from gpupipe.local.runners.process_host import await_ends, end_strays
from gpupipe.local.state import Folder
from gpupipe.threads import start_daemon
from gpuworker.contract import TAG_STACK, WORKER_FILE

MAX_CRASHES = 3
RECENT_S = 60.0
"""A worker's end this long before the machines were taken over is news: its supervisor may have died with it."""
SCHEDULE_S = 60.0
"""The guard's own schedule, which the emulators keep by themselves."""

log = logging.getLogger(__name__)


class UserDataError(ValueError):
    """An instance's user data does not hold the worker's settings."""


class Machines:
    """One stack's machines."""

    def __init__(
        self,
        *,
        stack_id: str,
        folder: Folder,
        client: Callable[[str], Any],
        environment: Mapping[str, str],
        metadata: MetadataService,
        settings: Callable[[], RunnerSettings],
    ) -> None:
        self._stack_id = stack_id
        self._folder = folder
        self._client = client
        self._environment = environment
        self._metadata = metadata
        self._settings = settings
        self._hosts = {host.folder.name: host for host in read_hosts(folder)}
        end_strays(folder.machines, [host.worker for host in self._hosts.values()])
        self._opened_at = time.time()
        self._told_until: dict[str, float] = {}
        self._next_guard = time.monotonic()
        self._guard_calls: dict[str, threading.Thread] = {}

    def step(self) -> None:
        """Bring the machines in line with EC2 once, and call the guards when it is time."""
        instances = {instance["InstanceId"]: instance for instance in self._instances()}
        alive = {name: one for name, one in instances.items() if one["State"]["Name"] in ("pending", "running")}
        for instance_id, instance in alive.items():
            self._keep_running(self._host(instance_id), instance)
        for instance_id in self._disks() - set(alive):
            stopped = instances.get(instance_id, {}).get("State", {}).get("Name") in ("stopping", "stopped")
            self._keep_off(instance_id, keep_disk=stopped)
        self._metadata.machines = {name: _facts_of(one, self._host(name)) for name, one in alive.items()}
        self._call_guards()

    def close(self) -> None:
        """Power every machine off, waiting until all are."""
        hosts = [self._host(instance_id) for instance_id in self._disks() | set(self._hosts)]
        await_ends(host.ask_off for host in hosts)
        for host in hosts:
            host.forget_run()

    def _instances(self) -> Iterator[dict[str, Any]]:
        pages = (
            self._client("ec2")
            .get_paginator("describe_instances")
            .paginate(Filters=[{"Name": f"tag:{TAG_STACK}", "Values": [self._stack_id]}])
        )
        for page in pages:
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]

    def _disks(self) -> set[str]:
        folder = self._folder.machines
        return {disk.name for disk in folder.iterdir() if disk.is_dir()} if folder.is_dir() else set()

    def _host(self, instance_id: str) -> Host:
        if instance_id not in self._hosts:
            disk = self._folder.machines / instance_id
            self._hosts[instance_id] = Host(disk, log=self._folder.logs / f"{instance_id}.log")
        return self._hosts[instance_id]

    def _keep_running(self, host: Host, instance: dict[str, Any]) -> None:
        interruption = host.interruption
        if interruption and time.time() >= interruption.taken_at:
            log.info("%s: taken away, as was announced", instance["InstanceId"])
            self._client("ec2").terminate_instances(InstanceIds=[instance["InstanceId"]])
            return
        self._tell_of_worker(host, instance["InstanceId"])
        state = host.state
        if state is HostState.CRASHED and host.crashed() > MAX_CRASHES:
            host.refuse(f"the machine's own process ended {MAX_CRASHES + 1} times; see {host.log}")
        elif state in (HostState.NEW, HostState.CRASHED):
            if state is HostState.CRASHED:
                what = f"The process of machine {instance['InstanceId']} ended unexpectedly"
                self._folder.add_notice(f"{what}; the machine is booted again. Its log: {host.log}")
            self._boot(host, instance)
        if host.state in (HostState.OFF, HostState.NEW) and (off := host.off):
            self._turn_off(host, instance, reason=f"{off.reason}: {off.detail}", bad=off.reason == "failed")

    def _tell_of_worker(self, host: Host, instance_id: str) -> None:
        """Leave word of a worker that ended with an error, once a failure; the machine has it started again."""
        failure = host.worker_failure
        if failure and failure.at > self._told_until.get(instance_id, self._opened_at - RECENT_S):
            self._told_until[instance_id] = failure.at
            what = f"The worker on machine {instance_id} ended ({failure.detail})"
            self._folder.add_notice(f"{what}; its machine starts it again. Its log: {host.log}")

    def _boot(self, host: Host, instance: dict[str, Any]) -> None:
        instance_id = instance["InstanceId"]
        environment = {
            **self._environment,
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self._metadata.url(instance_id),
        }
        # Known before the worker asks: its first question is its own id.
        self._metadata.machines = {**self._metadata.machines, instance_id: _facts_of(instance, host)}
        try:
            settings = worker_settings(self._attribute(instance_id, "userData", "UserData"))
            max_hours = float(json.loads(settings)["max_processing_hours"])
        except (UserDataError, KeyError, TypeError, ValueError) as error:
            host.refuse(f"the user data of {instance_id} is of no use to a worker: {error}")
            return
        python = self._settings().worker_python
        host.boot(Boot(settings=settings, python=python, max_hours=max_hours, environment=environment))
        log.info("%s: started", instance_id)

    def _attribute(self, instance_id: str, name: str, key: str) -> str:
        answer = self._client("ec2").describe_instance_attribute(InstanceId=instance_id, Attribute=name)
        return str(answer.get(key, {}).get("Value", ""))

    def _turn_off(self, host: Host, instance: dict[str, Any], *, reason: str, bad: bool) -> None:
        """What EC2 does when a machine powers itself off."""
        instance_id = instance["InstanceId"]
        name = "instanceInitiatedShutdownBehavior"
        behaviour = self._attribute(instance_id, name, "InstanceInitiatedShutdownBehavior")
        if behaviour == "terminate":
            self._client("ec2").terminate_instances(InstanceIds=[instance_id])
        else:
            self._client("ec2").stop_instances(InstanceIds=[instance_id])
        log.info("%s: off (%s), %s", instance_id, behaviour, reason)
        if bad:
            self._folder.add_notice(f"Machine {instance_id} was powered off; {reason}. Its log: {host.log}")
        host.forget_run()

    def _keep_off(self, instance_id: str, *, keep_disk: bool) -> None:
        host = self._host(instance_id)
        if not host.ask_off():
            return
        if host.state is not HostState.NEW:
            log.info("%s: ended, because EC2 has it off", instance_id)
            host.forget_run()
        if not keep_disk:
            host.remove_disk()
            del self._hosts[instance_id]

    def _call_guards(self) -> None:
        """Call the guards more often than their schedule, where the configuration wants that.

        One that still works is not called again: each call would be a process more on a machine that is late already.
        """
        settings = self._settings()
        now = time.monotonic()
        if settings.guard_interval_s >= SCHEDULE_S or now < self._next_guard:
            return
        self._next_guard = now + settings.guard_interval_s
        functions = self._client("lambda")
        for name in settings.guard_functions:
            if name not in self._guard_calls or not self._guard_calls[name].is_alive():
                self._guard_calls[name] = start_daemon(partial(_call, functions, name), name=f"call-{name}")


def _call(functions: Any, name: str) -> None:
    """Call a function and wait for its end."""
    try:
        functions.invoke(FunctionName=name, Payload=b"{}")
    except functions.exceptions.ResourceNotFoundException:
        log.debug("%s: not there yet", name)
    except (BotoCoreError, ClientError) as error:
        log.warning("%s: could not be called: %s", name, error)


def worker_settings(user_data_base64: str) -> str:
    """The content of /etc/gpupipe/worker.json in an instance's user data. Raises UserDataError."""
    try:
        text = base64.b64decode(user_data_base64, validate=True).decode()
        document = json.loads(text.removeprefix("#cloud-config").strip())
        files = {file["path"]: file for file in document["write_files"]}
        file = files[WORKER_FILE]
        content = str(file["content"])
        return base64.b64decode(content).decode() if file.get("encoding") in ("b64", "base64") else content
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise UserDataError(f"no {WORKER_FILE} in it ({error!r})") from error


def _facts_of(instance: Mapping[str, Any], host: Host) -> InstanceFacts:
    return InstanceFacts(
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        availability_zone=instance["Placement"]["AvailabilityZone"],
        life_cycle=instance.get("InstanceLifecycle") or "on-demand",
        image_id=instance.get("ImageId", ""),
        tags={tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())},
        interruption=host.interruption,
    )
