"""Plays SageMaker's hosting: a `gpuworker.entries.serve` process for each instance that the emulated endpoints should
have.

Twice a second it compares what SageMaker says (`DescribeEndpoint` of the endpoints with our stack tag) with the
containers' processes, acts on the difference, and reports how the endpoints are. Requests find the containers by the
`Directory` that it publishes; the autoscaler changes what SageMaker says, never the containers.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gpupipe.clock import SYSTEM, Clock
from gpupipe.errors import GpupipeError
from gpupipe.local.configuration import RunnerSettings
from gpupipe.local.runners.process_host import await_ends, end_strays
from gpupipe.local.runners.sagemaker.async_requests import AsyncRequests
from gpupipe.local.runners.sagemaker.autoscaler import Autoscaler
from gpupipe.local.runners.sagemaker.container import USUAL, Container, Patience, read_all
from gpupipe.local.runners.sagemaker.deployment import Deployment, Fleet, FleetVariant, Report, Wanted
from gpupipe.local.runners.sagemaker.endpoint_metrics import EndpointMetrics, Load
from gpupipe.local.runners.sagemaker.routing import AsyncSettings, Directory, Hosted, RoutedVariant
from gpupipe.local.runners.worker_logs import WorkerLogs
from gpupipe.local.state import Folder
from gpuworker.contract import TAG_STACK, error_code

FORGET_REQUESTS_S = 60.0
"""How long requests outlive their endpoint: an emulator that was restarted does not know it for a moment."""

log = logging.getLogger(__name__)


class Endpoints:
    """One stack's endpoints."""

    def __init__(
        self,
        *,
        stack_id: str,
        folder: Folder,
        client: Callable[[str], Any],
        environment: Mapping[str, str],
        settings: Callable[[], RunnerSettings],
        directory: Directory,
        requests: AsyncRequests,
        tell: Callable[[Mapping[str, Any]], None],
        patience: Patience = USUAL,
        clock: Clock = SYSTEM,
    ) -> None:
        self._stack_id = stack_id
        self._folder = folder
        self._client = client
        self._environment = environment
        self._settings = settings
        self._directory = directory
        self._requests = requests
        self._tell = tell
        self._patience = patience
        self._clock = clock
        self._pings = ThreadPoolExecutor(4, thread_name_prefix="ping")
        self._deployments: dict[str, Deployment] = {}
        found = read_all(folder.containers, logs=folder.logs, patience=patience)
        end_strays(folder.containers, [container.worker for container in found])
        for container in found:
            self._adopt(container)
        self._ours: dict[tuple[str, Any], bool] = {}
        self._told_ends: dict[str, int] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._absent_since: dict[str, float] = {}
        self._logs = WorkerLogs(client, clock=clock)
        self._metrics = EndpointMetrics(client)
        self._autoscaler = Autoscaler(client, clock=clock)

    def step(self) -> None:
        """Bring the containers in line with SageMaker once."""
        described = {name: one for name in self._endpoints() if (one := self._described(name))}
        kept = {name: self._keep(name, one) for name, one in described.items()}
        hosted = {name: one for name, one in kept.items() if one}
        self._directory.publish(hosted)
        for name in set(self._deployments) - set(described):
            self._take_away(name)
        self._forget_requests(set(described))
        loads = [self._load(described[name], one) for name, one in hosted.items()]
        self._metrics.put(loads)
        self._autoscaler.step(loads)
        self._logs.ship(container.stream for one in self._deployments.values() for container in one.containers)

    def close(self) -> None:
        """End every container, waiting until all have ended."""
        self._directory.publish({})
        await_ends(deployment.close for deployment in self._deployments.values())
        self._pings.shutdown(wait=False, cancel_futures=True)
        for container in read_all(self._folder.containers, logs=self._folder.logs):
            container.remove()

    # --- what SageMaker says ------------------------------------------------------------------------------------

    def _endpoints(self) -> list[str]:
        """The names of our stack's endpoints."""
        pages = self._client("sagemaker").get_paginator("list_endpoints").paginate()
        found = [one for page in pages for one in page["Endpoints"]]
        return [one["EndpointName"] for one in found if self._is_ours(one["EndpointArn"], one["CreationTime"])]

    def _is_ours(self, arn: str, created_at: Any) -> bool:
        if (arn, created_at) not in self._ours:
            tags = self._client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
            self._ours[arn, created_at] = {"Key": TAG_STACK, "Value": self._stack_id} in tags
            # Configurations are known by name only: those of an endpoint made anew are looked at again.
            self._configs.clear()
        return self._ours[arn, created_at]

    def _described(self, name: str) -> dict[str, Any]:
        """The endpoint, or nothing if it is just being deleted."""
        sagemaker = self._client("sagemaker")
        try:
            found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        except sagemaker.exceptions.ClientError as error:
            if error_code(error) != "ValidationException":
                raise
            return {}
        return found

    def _config(self, name: str) -> dict[str, Any]:
        """An endpoint configuration with the environment of each variant's model; read once, for it never changes."""
        if name not in self._configs:
            sagemaker = self._client("sagemaker")
            config = sagemaker.describe_endpoint_config(EndpointConfigName=name)
            for variant in config["ProductionVariants"]:
                model = sagemaker.describe_model(ModelName=variant["ModelName"])
                containers = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model["Containers"]
                variant["Environment"] = containers[0].get("Environment", {})
            self._configs[name] = config
        return self._configs[name]

    def _fleet(self, config_name: str, described: Mapping[str, Any]) -> Fleet:
        counts = {one["VariantName"]: _desired(one) for one in described.get("ProductionVariants", ())}
        variants = {}
        for one in self._config(config_name)["ProductionVariants"]:
            name, initial = one["VariantName"], int(one.get("InitialInstanceCount", 1))
            variants[name] = FleetVariant(
                count=counts.get(name, initial),
                environment=one["Environment"],
                startup_timeout_s=float(
                    one.get("ContainerStartupHealthCheckTimeoutInSeconds", self._patience.startup_timeout_s)
                ),
            )
        return Fleet(config=config_name, variants=variants)

    def _wanted(self, described: Mapping[str, Any]) -> Wanted:
        summary = described.get("PendingDeploymentSummary") or {}
        pending = summary.get("EndpointConfigName", "")
        live = described["EndpointConfigName"]
        return Wanted(
            status=described["EndpointStatus"],
            live=self._fleet(live, described),
            pending=self._fleet(pending, summary) if pending and pending != live else None,
        )

    # --- acting on it -------------------------------------------------------------------------------------------

    def _keep(self, name: str, described: Mapping[str, Any]) -> Hosted | None:
        """Bring one endpoint in line; what goes wrong with it does not concern the others."""
        try:
            return self._kept(name, described)
        except (BotoCoreError, ClientError, GpupipeError, OSError):
            log.exception("%s: cannot be brought in line; tried again", name)
            return None

    def _kept(self, name: str, described: Mapping[str, Any]) -> Hosted:
        deployment = self._deployment(name)
        report = deployment.step(
            self._wanted(described), command=[self._settings().worker_python], environment=self._environment
        )
        self._tell_of_ends(deployment)
        if _differs(report, described):
            self._report(name, report)
        return self._hosted(name, described, deployment, report)

    def _tell_of_ends(self, deployment: Deployment) -> None:
        """Leave word of containers that ended; the deployment has them started again."""
        for container in deployment.containers:
            if container.ends > self._told_ends.get(container.name, 0):
                self._told_ends[container.name] = container.ends
                what = f"Instance {container.name} of endpoint {container.identity.endpoint}"
                self._folder.add_notice(
                    f"{what}: {container.ended or 'the container ended'}; it is started again. Its log: {container.log}"
                )

    def _report(self, name: str, report: Report) -> None:
        log.info("%s: %s, %s %s", name, report.status, dict(report.counts), report.reason)
        if report.reason:
            self._folder.add_notice(f"Endpoint {name}: {report.reason}")
        self._tell(report.document(name))

    def _hosted(self, name: str, described: Mapping[str, Any], deployment: Deployment, report: Report) -> Hosted:
        """What requests are told: the containers of the configuration that is live now."""
        config = self._config(report.config)
        weights = {one["VariantName"]: one.get("DesiredWeight") for one in described.get("ProductionVariants", ())}
        ready = list(deployment.ready(report.config))
        variants = tuple(
            RoutedVariant(
                name=one["VariantName"],
                weight=float(_first(weights.get(one["VariantName"]), one.get("InitialVariantWeight"), 1.0)),
                instances=tuple(c.instance for c in ready if c.identity.variant == one["VariantName"]),
            )
            for one in config["ProductionVariants"]
        )
        asynchronous = _asynchronous(config.get("AsyncInferenceConfig"))
        return Hosted(name=name, status=report.status, variants=variants, asynchronous=asynchronous)

    def _load(self, described: Mapping[str, Any], hosted: Hosted) -> Load:
        desired = {one["VariantName"]: _desired(one) for one in described.get("ProductionVariants", ())}
        given = {one.name: self._directory.invocations(hosted.name, one.name) for one in hosted.variants}
        return Load(
            endpoint=hosted.name,
            status=described["EndpointStatus"],
            asynchronous=hosted.asynchronous is not None,
            backlog=self._requests.backlog(hosted.name),
            desired=desired,
            ready={one.name: len(one.instances) for one in hosted.variants},
            invocations=given,
            errors={one.name: self._directory.errors(hosted.name, one.name) for one in hosted.variants},
            in_flight={one.name: sum(instance.in_flight for instance in one.instances) for one in hosted.variants},
        )

    def _deployment(self, name: str) -> Deployment:
        if name not in self._deployments:
            self._deployments[name] = self._new_deployment(name, [])
        return self._deployments[name]

    def _adopt(self, container: Container) -> None:
        name = container.identity.endpoint
        found = [*self._deployments[name].containers] if name in self._deployments else []
        self._deployments[name] = self._new_deployment(name, [*found, container])

    def _new_deployment(self, name: str, found: list[Container]) -> Deployment:
        folder = self._folder.containers / name
        shared: dict[str, Any] = {"logs": self._folder.logs, "pings": self._pings, "patience": self._patience}
        return Deployment(name, folder, found=found, **shared)

    def _take_away(self, name: str) -> None:
        """End the containers of an endpoint that is gone."""
        deployment = self._deployments[name]
        containers = deployment.containers
        if deployment.close():
            for container in containers:
                container.remove()
            del self._deployments[name]

    def _forget_requests(self, there: set[str]) -> None:
        now = self._clock.monotonic()
        for name in self._requests.endpoints():
            since = self._absent_since.setdefault(name, now) if name not in there else now
            if now - since > FORGET_REQUESTS_S:
                self._requests.drop(name)
            if name in there:
                self._absent_since.pop(name, None)


def _differs(report: Report, described: Mapping[str, Any]) -> bool:
    """Whether SageMaker says anything else yet."""
    now = {one["VariantName"]: one.get("CurrentInstanceCount", 0) for one in described.get("ProductionVariants", ())}
    same_counts = all(now.get(name) == count for name, count in report.counts.items())
    known = (described["EndpointStatus"], described["EndpointConfigName"])
    return (report.status, report.config) != known or not same_counts


def _asynchronous(config: Mapping[str, Any] | None) -> AsyncSettings | None:
    if not config:
        return None
    output = config["OutputConfig"]
    topics = output.get("NotificationConfig", {})
    return AsyncSettings(
        output_path=output.get("S3OutputPath", ""),
        failure_path=output.get("S3FailurePath", ""),
        success_topic=topics.get("SuccessTopic", ""),
        error_topic=topics.get("ErrorTopic", ""),
        max_concurrency=int(config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", 4)),
    )


def _desired(variant: Mapping[str, Any]) -> int:
    return int(_first(variant.get("DesiredInstanceCount"), variant.get("CurrentInstanceCount"), 0))


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
