"""The smallest runner: for each queue whose name begins with `toy-` a process that answers HTTP."""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar, final

from gpupipe.local.runners import EmulatedAccount, Runner, Site
from gpupipe.local.runners.process_host import WorkerProcess, await_ends, end_strays, free_port
from gpupipe.local.state import Folder

CODE = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

print("up", flush=True)
HTTPServer(("127.0.0.1", int(os.environ["TOY_PORT"])), Answers).serve_forever()
"""


@final
class ToyRunner(Runner):
    """One stack's toys."""

    section: ClassVar[str] = "toys"

    def __init__(self, site: Site, *, port: int = 0) -> None:
        super().__init__(site, port=port)
        self._emulated: EmulatedAccount | None = None
        self._toys: dict[str, WorkerProcess] = {}

    def open(self, emulated: EmulatedAccount) -> None:
        self._emulated = emulated
        self._toys = {toy.folder.name: toy for toy in read_toys(self.site.folder)}
        end_strays(folder_of_toys(self.site.folder), self._toys.values())

    def step(self) -> None:
        if self._emulated is None:
            return
        queues = self._emulated.client("sqs").list_queues(QueueNamePrefix="toy-").get("QueueUrls", [])
        wanted = {url.rsplit("/", 1)[-1] for url in queues}
        for name in wanted:
            toy = self._toys.setdefault(name, read_toy(self.site.folder, name))
            if not toy.alive:
                self._start(toy, self._emulated)
        for name in set(self._toys) - wanted:
            if self._toys[name].ask_end():
                self._toys.pop(name).remove()

    def _start(self, toy: WorkerProcess, emulated: EmulatedAccount) -> None:
        port = free_port()
        environment = {**emulated.environment, "TOY_PORT": str(port)}
        toy.start([sys.executable, "-c", CODE], environment=environment, notes={"url": f"http://127.0.0.1:{port}"})

    def close(self) -> None:
        await_ends(toy.ask_end for toy in self._toys.values())
        for toy in self._toys.values():
            toy.remove()
        self._emulated, self._toys = None, {}

    @classmethod
    def status(cls, folder: Folder) -> list[dict[str, Any]]:
        return [
            {"name": toy.folder.name, "pid": toy.pid, "alive": toy.alive, "url": toy.notes["url"]}
            for toy in read_toys(folder)
        ]

    @classmethod
    def end_left(cls, folder: Folder) -> None:
        await_ends(toy.ask_end for toy in read_toys(folder))
        end_strays(folder_of_toys(folder), ())


def folder_of_toys(folder: Folder) -> Path:
    return folder.path / "toys"


def read_toy(folder: Folder, name: str) -> WorkerProcess:
    return WorkerProcess(
        folder_of_toys(folder) / name, note="toy.json", log=folder.logs / f"{name}.log", term_grace_s=5.0
    )


def read_toys(folder: Folder) -> list[WorkerProcess]:
    names = sorted(file.parent.name for file in folder_of_toys(folder).glob("*/toy.json"))
    return [read_toy(folder, name) for name in names]


@final
class BrokenRunner(Runner):
    """One that can do nothing."""

    section: ClassVar[str] = "broken"

    def open(self, emulated: EmulatedAccount) -> None:
        pass

    def step(self) -> None:
        raise RuntimeError("broken")

    def close(self) -> None:
        raise RuntimeError("broken")

    @classmethod
    def status(cls, folder: Folder) -> list[dict[str, Any]]:
        return []

    @classmethod
    def end_left(cls, folder: Folder) -> None:
        pass


def main() -> int:
    """A supervisor of a configuration and a folder, with the toys beside its own runners, and one that is broken."""
    from gpupipe.local.runners import RUNNERS, runner_classes
    from gpupipe.local.supervisor import Supervisor

    table = {"broken": f"{__package__}.toy:BrokenRunner", **RUNNERS, "toy": f"{__package__}.toy:ToyRunner"}
    config, folder = map(Path, os.environ["TOY_SUPERVISES"].split(os.pathsep))
    return Supervisor(config, Folder(folder), runners=lambda: runner_classes(table)).run()


if __name__ == "__main__":
    sys.exit(main())
