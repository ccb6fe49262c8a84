"""One emulator as a process of its own: `python -m gpupipe.local.emulator ministack|moto --fd N --state FOLDER`."""

import argparse
import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from gpupipe.local import ministack_shims, ministack_state, moto_shims, moto_state
from gpupipe.local.gate import App, Gate
from gpupipe.local.resumed_delivery import ResumesDelivery
from gpupipe.local.signatures import Signatures
from gpupipe.local.snapshots import Snapshots
from gpupipe.threads import start_daemon

_MAX_WSGI_BODY_BYTES = 64 * 2**20
_CLOSING_S = 4.0


def main(arguments: list[str] | None = None) -> None:
    """Serve one emulator on an inherited socket until SIGTERM; ministack saves its state before it ends."""
    parser = argparse.ArgumentParser(prog="python -m gpupipe.local.emulator")
    parser.add_argument("name", choices=("ministack", "moto"))
    parser.add_argument("--fd", type=int, required=True, help="the bound socket, inherited from the parent")
    parser.add_argument("--state", type=Path, required=True, help="folder for what the emulator keeps")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process does")
    given = parser.parse_args(arguments)
    port = _port_of(given.fd)
    os.chdir(given.state)
    app = _ministack(port) if given.name == "ministack" else _moto(port)
    account = Signatures(access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"])
    gate = Gate(app, port=port, signatures=account, serves_links=given.name == "ministack")
    before_end = _saving(gate) if given.name == "ministack" else _nothing
    asyncio.run(_serve(gate, given.fd, with_parent=given.with_parent, before_end=before_end))
    # State is saved. To take moto's 200 MB of objects apart one by one would make `gpupipe down` a second slower.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        return int(listener.getsockname()[1])


def _ministack(port: int) -> App:
    """ministack's application; it reads its settings from the environment while it is imported."""
    os.environ.update(ministack_settings(port))
    from ministack.app import app
    from ministack.core import hypercorn_compat

    hypercorn_compat.install()
    ministack_shims.install()
    owned = ministack_shims.ExpectedBucketOwner(cast("App", app), account_id=os.environ["AWS_ACCESS_KEY_ID"])
    return ResumesDelivery(ministack_shims.LinksLeadToS3(owned))


def _saving(gate: Gate) -> Callable[[], None]:
    """Begin to save ministack's state; what to call before it ends."""
    snapshots = Snapshots(save=ministack_state.save, changes=lambda: gate.changes)
    snapshots.start()
    return snapshots.end


def _nothing() -> None:
    """moto's state is saved with each change."""


def ministack_settings(port: int) -> dict[str, str]:
    """The environment ministack is configured by, beside the account's credentials."""
    return {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # Queue URLs are built from this: they must name a Host that the gate lets in.
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "MINISTACK_REGION": os.environ["AWS_DEFAULT_REGION"],
        "PERSIST_STATE": "1",
        # Where this process works: a folder that is moved takes both along, and in one that was removed nothing is
        # made anew, which would be taken for a stack of somebody else's.
        "STATE_DIR": "state",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": "s3",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Keeps ministack from looking for a Docker daemon, whose absence or slowness would delay its start.
        "DOCKER_HOST": "unix:///nonexistent",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
        # A dispatch function is called a few times a job: threads beyond a handful only cost memory.
        "MINISTACK_WORKER_THREADS": "32",
    }


def _moto(port: int) -> App:
    """moto's server application behind an ASGI adapter, so that both emulators stand behind the same gate."""
    os.environ.update(
        MOTO_ACCOUNT_ID=os.environ["AWS_ACCESS_KEY_ID"],
        MOTO_PORT=str(port),
        MOTO_DISABLE_GLOBAL_CORS="1",
        MOTO_ALLOW_NONEXISTENT_REGION="true",
        # The catalogue of public images takes 0.3 s to load; machines start from any image id.
        MOTO_EC2_LOAD_DEFAULT_AMIS="false",
        MOTO_IAM_LOAD_MANAGED_POLICIES="true",
    )
    from hypercorn.middleware import AsyncioWSGIMiddleware
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    moto_shims.install()
    application: Any = DomainDispatcherApplication(create_backend_app)
    state = Path(moto_state.FILE).absolute()
    moto_state.load(state)
    start_daemon(_load_ahead, name="load-ahead")
    served = cast("App", AsyncioWSGIMiddleware(application, max_body_size=_MAX_WSGI_BODY_BYTES))
    return moto_state.SavesBeforeAnswering(served, partial(moto_state.save, state))


def _load_ahead() -> None:
    """Import what every stack needs while nobody waits yet; EC2 alone takes more than a second."""
    for module in ("ec2", "iam"):
        importlib.import_module(f"moto.{module}.models")
        importlib.import_module(f"moto.{module}.responses")


async def _serve(app: App, descriptor: int, *, with_parent: bool, before_end: Callable[[], None]) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 3
    config.loglevel = "WARNING"
    config.h11_max_incomplete_size = 64 * 1024
    asked = _asked_to_end(with_parent=with_parent)

    async def end() -> None:
        await asked.wait()
        await asyncio.to_thread(before_end)
        # From Python 3.12 on, closing waits for every connection: a worker's long poll would hold it up for 20 s.
        watchdog = threading.Timer(_CLOSING_S, os._exit, args=(0,))
        watchdog.daemon = True
        watchdog.start()

    await serve(cast("Any", app), config, shutdown_trigger=end)


def _asked_to_end(*, with_parent: bool) -> asyncio.Event:
    """Set by SIGTERM, by SIGINT, or by the end of the parent where that is asked for."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    parent = os.getppid()

    def check() -> None:
        if os.getppid() == parent:
            loop.call_later(1.0, check)
        else:
            event.set()

    if with_parent:
        check()
    return event


if __name__ == "__main__":
    main()
