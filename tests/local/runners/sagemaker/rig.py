"""A SageMaker runner with the emulated SageMaker it watches, for the tests of hosting."""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.local.waiting import until

from gpupipe.clock import SystemClock
from gpupipe.local.configuration import RunnerSettings
from gpupipe.local.emulators import Emulators
from gpupipe.local.runners import EmulatedAccount, Site
from gpupipe.local.runners.health import Pings
from gpupipe.local.runners.sagemaker.container import Container, Patience, read_all
from gpupipe.local.runners.sagemaker.endpoint_reports import EndpointReports
from gpupipe.local.runners.sagemaker.runner import SageMakerRunner
from gpupipe.local.runners.sagemaker.runtime_server import RuntimeServer
from gpupipe.local.state import Folder

QUICK = Patience(restart_s=0.2, pings=Pings(pause_starting_s=0.05))
_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test of this run uses."""
    return f"{word}-{next(_numbers)}"


@dataclass
class ClockAhead(SystemClock):
    """Goes as everybody's, and further ahead of it where a test lets time go by at once."""

    ahead_s: float = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Rig:
    """A runner on a disk of its own with the emulated SageMaker it watches; a step is taken with every look."""

    def __init__(
        self, local: Emulators, server: RuntimeServer, folder: Folder, python: Path, client: Callable[[str], Any]
    ) -> None:
        self.folder = folder
        self.account = local.account
        self.endpoints = local.endpoints
        self.environment = local.environment
        self.server = server
        self._python = python
        self.client = client
        self._resting = threading.Event()
        self.clock = ClockAhead()
        self.runner = self.open()

    def open(self, patience: Patience = QUICK) -> SageMakerRunner:
        """Open a runner; one that was open before is left as if its supervisor had been killed."""
        settings = RunnerSettings(worker_python=str(self._python), guard_interval_s=60.0, guard_functions=())
        site = Site(stack_id="demo-dev", folder=self.folder, account=self.account, settings=lambda: settings)
        self.runner = SageMakerRunner(site, server=self.server, patience=patience, clock=self.clock)
        self.runner.open(EmulatedAccount(client=self.client, endpoints=self.endpoints, environment=self.environment))
        return self.runner

    def keep_stepping(self) -> None:
        """Work in the background, as under a supervisor, for clients that wait by themselves."""
        self._resting.clear()
        self._thread = threading.Thread(target=self._step_on, daemon=True)
        self._thread.start()

    def stop_stepping(self) -> None:
        self._resting.set()
        self._thread.join(timeout=20)

    def _step_on(self) -> None:
        while not self._resting.wait(0.1):
            self.runner.step()

    def step_until(self, look: Callable[[], Any]) -> Any:
        def stepped() -> Any:
            self.runner.step()
            return look()

        return until(stepped)

    def described(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("sagemaker").describe_endpoint(EndpointName=name)
        return found

    def settled(self, name: str) -> dict[str, Any]:
        """The endpoint once it is neither being made nor changed."""
        self.step_until(lambda: self.described(name)["EndpointStatus"] not in ("Creating", "Updating"))
        return self.described(name)

    def counts(self, name: str) -> dict[str, int]:
        return {one["VariantName"]: one["CurrentInstanceCount"] for one in self.described(name)["ProductionVariants"]}

    def ask(self, name: str, wish: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """InvokeEndpoint; the stand-in's answer."""
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, ContentType="application/json", Body=json.dumps(wish or {}), **more
        )
        return {**json.loads(answer["Body"].read()), "variant": answer["InvokedProductionVariant"]}

    def is_answered(self, name: str) -> bool:
        """Whether a request to the endpoint gets an answer now."""
        unavailable = self.client("sagemaker-runtime").exceptions.ServiceUnavailable
        try:
            return bool(self.ask(name))
        except unavailable:
            return False

    def backlog(self, name: str) -> int:
        """Requests that have no result yet."""
        return len(list(self.folder.requests.glob(f"{name}/*.json")))

    def containers(self, name: str) -> list[Container]:
        found = read_all(self.folder.containers, logs=self.folder.logs)
        return [one for one in found if one.identity.endpoint == name]

    def pids(self, name: str) -> set[int]:
        """Of the processes that run for an endpoint."""
        return {container.pid for container in self.containers(name) if container.alive and container.pid}

    def forget_endpoints(self) -> None:
        """Leave nothing to the next test."""
        sagemaker, report = self.client("sagemaker"), EndpointReports(self.account, self.endpoints["sagemaker"])
        for endpoint in sagemaker.list_endpoints()["Endpoints"]:
            report({"EndpointName": endpoint["EndpointName"], "EndpointStatus": "Failed"})
            sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])

    def bucket(self) -> str:
        """A new bucket."""
        name = unique("bucket")
        self.client("s3").create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, wish: Any, key: str = "") -> str:
        """A request's body in S3; returns its InputLocation."""
        key = key or unique("input") + ".json"
        body = wish if isinstance(wish, bytes) else json.dumps(wish).encode()
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    def ask_async(self, endpoint: str, location: str, **more: Any) -> dict[str, Any]:
        """InvokeEndpointAsync with JSON."""
        answer: dict[str, Any] = self.client("sagemaker-runtime").invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=location, ContentType="application/json", **more
        )
        return answer

    def read(self, location: str) -> bytes | None:
        """An object, or None while it is not there."""
        s3 = self.client("s3")
        bucket, _, key = location.removeprefix("s3://").partition("/")
        try:
            body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return body
        except s3.exceptions.NoSuchKey:
            return None

    def topic(self) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
        """A topic, and what was published to it since the last call."""
        sns, sqs = self.client("sns"), self.client("sqs")
        arn = sns.create_topic(Name=unique("topic"))["TopicArn"]
        url = sqs.create_queue(QueueName=unique("heard"))["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})

        def heard() -> list[dict[str, Any]]:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            return [json.loads(message["Body"]) for message in found]

        return arn, heard
