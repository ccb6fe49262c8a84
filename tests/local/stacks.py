"""The local target of one configuration file, as commands use it."""

from pathlib import Path
from typing import Any

from tests.local.clients import client_of
from tests.local.machines import launch, worker_template
from tests.local.waiting import until

from gpupipe.local import control
from gpupipe.local.emulators import Account
from gpupipe.local.state import Target


class Stack:
    """The local target of one configuration file, as commands use it."""

    def __init__(self, config_file: Path, stack_id: str = "demo-dev") -> None:
        self.config_file = config_file
        self.stack_id = stack_id
        self._clients: dict[tuple[str, str, str], Any] = {}

    def up(self, region: str = "us-east-1") -> Target:
        return control.ensure_running(self.config_file, stack_id=self.stack_id, region=region, timeout_s=60)

    def status(self) -> dict[str, Any]:
        return control.status(self.config_file, stack_id=self.stack_id)

    def stop(self, *, remove: bool = True) -> None:
        control.stop(self.config_file, stack_id=self.stack_id, remove=remove)

    def clear(self) -> None:
        """Take away buckets, machines and endpoints of a target that runs."""
        s3, status = self.client("s3"), self.status()
        for bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
            for found in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=found["Key"])
            s3.delete_bucket(Bucket=bucket)
        if machines := self._known_machines():
            self.client("ec2").terminate_instances(InstanceIds=machines)
        for endpoint in {one["endpoint"] for one in status["containers"]}:
            self.client("sagemaker").delete_endpoint(EndpointName=endpoint)
        until(lambda: not (status := self.status())["machines"] and not status["containers"])

    def _known_machines(self) -> list[str]:
        """Those that EC2 knows; a target that was stopped has disks of others until its first step."""
        found = self.client("ec2").describe_instances()["Reservations"]
        return [instance["InstanceId"] for reservation in found for instance in reservation["Instances"]]

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def client(self, service: str) -> Any:
        target = self.up()
        key = (service, target.account_id, target.endpoints["default"])  # ports may outlive an account
        if key not in self._clients:
            account = Account(account_id=target.account_id, secret_key=target.secret_key, region=target.region)
            self._clients[key] = client_of(account, target.endpoints, service)
        return self._clients[key]

    def start_machine(self, name: str) -> dict[str, Any]:
        """A machine with a worker that waits, once it runs."""
        launch(self.client("ec2"), name=name, data=worker_template("stop", then="wait"))
        found: list[dict[str, Any]] = until(
            lambda: [machine for machine in self.status()["machines"] if machine["state"] == "running"]
        )
        return found[0]
