"""Opens the endpoint room with all that belongs to it: the queue of requests, their delivery, sagemaker-runtime."""

from collections.abc import Callable, Mapping
from typing import Any

from gpupipe.clock import SYSTEM, Clock
from gpupipe.local.configuration import RoomSettings
from gpupipe.local.emulators import Account
from gpupipe.local.runners.sagemaker.async_delivery import AsyncDelivery
from gpupipe.local.runners.sagemaker.async_requests import AsyncRequests
from gpupipe.local.runners.sagemaker.container import USUAL, Patience
from gpupipe.local.runners.sagemaker.endpoint_reports import EndpointReports
from gpupipe.local.runners.sagemaker.endpoints import EndpointRoom
from gpupipe.local.runners.sagemaker.routing import Directory
from gpupipe.local.runners.sagemaker.runtime_operations import RuntimeOperations
from gpupipe.local.runners.sagemaker.runtime_server import RuntimeServer
from gpupipe.local.state import Folder


class HostedEndpoints:
    """The emulated endpoints of one stack, as a room."""

    def __init__(
        self,
        *,
        stack_id: str,
        folder: Folder,
        account: Account,
        client: Callable[[str], Any],
        endpoints: Mapping[str, str],
        environment: Mapping[str, str],
        settings: Callable[[], RoomSettings],
        server: RuntimeServer,
        patience: Patience = USUAL,
        clock: Clock = SYSTEM,
    ) -> None:
        """`clock` is what scaling and the shipping of logs go by."""
        directory = Directory()
        requests = AsyncRequests(folder.requests)
        self._server = server
        self._room = EndpointRoom(
            stack_id=stack_id,
            folder=folder,
            client=client,
            environment=environment,
            settings=settings,
            directory=directory,
            requests=requests,
            tell=EndpointReports(account, endpoints["sagemaker"]),
            patience=patience,
            clock=clock,
        )
        self._delivery = AsyncDelivery(account=account, client=client, directory=directory, requests=requests)
        operations = RuntimeOperations(
            account=account, directory=directory, requests=requests, realtime_timeout_s=patience.invocation_s
        )
        server.operations = operations.table

    def step(self) -> None:
        """See `EndpointRoom.step`."""
        self._room.step()

    def close(self) -> None:
        """Take no more requests, keep those without a result for the next time, and end every container."""
        self._server.operations = {}
        self._delivery.close()
        self._room.close()
