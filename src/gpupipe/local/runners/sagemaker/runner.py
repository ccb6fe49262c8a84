"""Plays SageMaker's hosting: containers, requests to them now and later, scaling."""

import functools
from typing import Any, ClassVar, final

from gpupipe.clock import SYSTEM, Clock
from gpupipe.local.emulators import bound_socket
from gpupipe.local.moto_sagemaker import HOSTED
from gpupipe.local.runners import EmulatedAccount, Runner, Site
from gpupipe.local.runners.process_host import await_ends, end_strays
from gpupipe.local.runners.sagemaker.async_delivery import AsyncDelivery
from gpupipe.local.runners.sagemaker.async_requests import AsyncRequests
from gpupipe.local.runners.sagemaker.container import USUAL, Container, Patience, read_all
from gpupipe.local.runners.sagemaker.endpoint_reports import EndpointReports
from gpupipe.local.runners.sagemaker.endpoints import Endpoints
from gpupipe.local.runners.sagemaker.routing import Directory
from gpupipe.local.runners.sagemaker.runtime_operations import RuntimeOperations
from gpupipe.local.runners.sagemaker.runtime_server import RuntimeServer
from gpupipe.local.state import Folder


@final
class SageMakerRunner(Runner):
    """One stack's endpoints, and `sagemaker-runtime`, which asks them."""

    section: ClassVar[str] = "containers"
    port_name: ClassVar[str] = "runtime"
    serves: ClassVar[tuple[str, ...]] = ("sagemaker-runtime",)
    emulator_environment: ClassVar[dict[str, str]] = {HOSTED: "1"}

    def __init__(
        self,
        site: Site,
        *,
        port: int = 0,
        server: RuntimeServer | None = None,
        patience: Patience = USUAL,
        clock: Clock = SYSTEM,
    ) -> None:
        """`server` may listen already; `clock` is what scaling and the shipping of logs go by."""
        super().__init__(site, port=port)
        self._server = server or RuntimeServer(bound_socket(port), signatures=site.account.signatures)
        self._patience = patience
        self._clock = clock
        self._endpoints: Endpoints | None = None
        self._delivery: AsyncDelivery | None = None

    @property
    def port(self) -> int:
        return self._server.port

    def open(self, emulated: EmulatedAccount) -> None:
        site, directory = self.site, Directory()
        requests = AsyncRequests(site.folder.requests)
        self._endpoints = Endpoints(
            stack_id=site.stack_id,
            folder=site.folder,
            client=emulated.client,
            environment=emulated.environment,
            settings=site.settings,
            directory=directory,
            requests=requests,
            tell=EndpointReports(site.account, emulated.endpoints["sagemaker"]),
            patience=self._patience,
            clock=self._clock,
        )
        self._delivery = AsyncDelivery(
            account=site.account, client=emulated.client, directory=directory, requests=requests
        )
        operations = RuntimeOperations(
            account=site.account,
            directory=directory,
            requests=requests,
            realtime_timeout_s=self._patience.invocation_s,
        )
        self._server.operations = operations.table

    def step(self) -> None:
        """See `Endpoints.step`."""
        if self._endpoints:
            self._endpoints.step()

    def close(self) -> None:
        """Take no more requests, keep those without a result for the next time, and end every container."""
        self._server.operations = {}
        if self._delivery:
            self._delivery.close()
        if self._endpoints:
            self._endpoints.close()
        self._delivery, self._endpoints = None, None

    def end(self) -> None:
        super().end()
        self._server.close()

    @classmethod
    def status(cls, folder: Folder) -> list[dict[str, Any]]:
        return [_shown(container) for container in read_all(folder.containers, logs=folder.logs)]

    @classmethod
    def end_left(cls, folder: Folder) -> None:
        containers = read_all(folder.containers, logs=folder.logs)
        await_ends(functools.partial(container.ask_end, at_once=True) for container in containers)
        for container in containers:
            container.remove()
        end_strays(folder.containers, ())


def _shown(container: Container) -> dict[str, Any]:
    """An instance of an emulated endpoint."""
    state = ("ready" if container.was_ready else "starting") if container.alive else "ended"
    return {
        "endpoint": container.identity.endpoint,
        "variant": container.identity.variant,
        "instance": container.name,
        "state": state,
        "pid": container.pid,
        "url": container.instance.url,
        "log": str(container.log),
    }
