"""Plays EC2: its machines, and the metadata service that they ask about themselves."""

from typing import Any, ClassVar, final

from gpupipe.local.emulators import bound_socket
from gpupipe.local.runners import EmulatedAccount, Runner, Site
from gpupipe.local.runners.ec2.host import read_hosts
from gpupipe.local.runners.ec2.machines import Machines
from gpupipe.local.runners.ec2.metadata import MetadataService
from gpupipe.local.runners.process_host import await_ends, end_strays
from gpupipe.local.state import Folder


@final
class Ec2Runner(Runner):
    """One stack's machines."""

    section: ClassVar[str] = "machines"
    port_name: ClassVar[str] = "metadata"

    def __init__(self, site: Site, *, port: int = 0) -> None:
        super().__init__(site, port=port)
        self._metadata = MetadataService(bound_socket(port), secret=site.account.secret_key)
        self._machines: Machines | None = None

    @property
    def port(self) -> int:
        return self._metadata.port

    def open(self, emulated: EmulatedAccount) -> None:
        self._machines = Machines(
            stack_id=self.site.stack_id,
            folder=self.site.folder,
            client=emulated.client,
            environment=emulated.environment,
            metadata=self._metadata,
            settings=self.site.settings,
        )

    def step(self) -> None:
        if self._machines:
            self._machines.step()

    def close(self) -> None:
        if self._machines:
            self._machines.close()
        self._machines = None

    def end(self) -> None:
        super().end()
        self._metadata.close()

    @classmethod
    def status(cls, folder: Folder) -> list[dict[str, Any]]:
        return [
            {"instance_id": host.folder.name, "state": host.state.value, "pid": host.pid, "log": str(host.log)}
            for host in read_hosts(folder)
        ]

    @classmethod
    def end_left(cls, folder: Folder) -> None:
        hosts = read_hosts(folder)
        await_ends(host.ask_off for host in hosts)
        for host in hosts:
            host.forget_run()
        end_strays(folder.machines, ())
