"""The local target's daemon: keeps the emulators running and plays the machines, until it is told to stop.

    python -m gpupipe.local.supervisor --config FILE --folder FOLDER

It may die at any moment. Everything it starts is a process of its own, noted in `record.json`; the next supervisor
adopts what still runs and starts what does not. It says `ready` only when the emulators answer and hold everything
that `gpupipe up` made.
"""

import argparse
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpupipe.aws import Aws
from gpupipe.errors import GpupipeError, LockedError
from gpupipe.local import apply, emulators, processes
from gpupipe.local.configuration import Configuration
from gpupipe.local.emulators import Account
from gpupipe.local.machine_room import MachineRoom
from gpupipe.local.metadata import MetadataService
from gpupipe.local.processes import ProcessName
from gpupipe.local.state import Folder, Target

STEP_S = 0.5
HEALTH_CHECK_S = 10.0
APPLY_AGAIN_S = 5.0
DEAF_CHECKS = 4  # so many checks in a row without an answer, and an emulator counts as hung
METADATA = "metadata"
LOST = (
    "The emulated AWS was killed and is back as it was seconds before: objects are all there, what happened last to "
    "queues and tables is lost. Unfinished work will be sent again; files uploaded in those seconds may have gone "
    "unnoticed and are found by `gpupipe submit s3://BUCKET/incoming/PROJECT/`."
)

log = logging.getLogger("gpupipe.local")


def main(arguments: list[str] | None = None) -> int:
    """Supervise until SIGTERM; exit code 1 if the target could not be started."""
    parser = argparse.ArgumentParser(prog="python -m gpupipe.local.supervisor")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    folder = Folder(given.folder)
    lock = folder.supervisor_lock()
    if lock is None:
        log.info("another supervisor is at work")
        return 0
    with lock:
        return Supervisor(given.config, folder).run()


class Supervisor:
    """One run of the daemon."""

    def __init__(self, config_path: Path, folder: Folder) -> None:
        self._folder = folder
        self._configuration = Configuration(config_path)
        self._stop = threading.Event()
        before = folder.read_record()
        self._crashed = before.phase in ("starting", "ready")
        self._record = replace(
            before,
            phase="starting",
            generation=before.generation + 1,
            started_at=time.time(),
            supervisor=ProcessName.of(os.getpid()),
            problem="",
        )
        self._room: MachineRoom | None = None
        self._imds: MetadataService | None = None
        self._must_apply = False
        self._next_apply = 0.0
        self._next_health_check = time.monotonic() + HEALTH_CHECK_S
        self._deaf = dict.fromkeys(emulators.NAMES, 0)

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._save()
        try:
            self._work(self._start())
        except Exception as error:
            log.exception("the local target ends")
            self._record = replace(self._record, problem=_said(error))
        finally:
            self._end()
        return 1 if self._record.problem else 0

    # --- starting -----------------------------------------------------------------------------------------------

    def _start(self) -> MachineRoom:
        self._account = self._folder.account(self._configuration.get().stack.region)
        if self._crashed:
            self._folder.add_notice("The local target had ended unexpectedly; it was started again.")
        self._bring_up()
        imds = self._imds = MetadataService(emulators.bound_socket(self._record.ports.get(METADATA, 0)))
        self._note_port(METADATA, imds.port)
        room = self._room = MachineRoom(
            stack_id=self._configuration.get().stack.id,
            folder=self._folder,
            client=impatient_client(self._account, self._endpoints),
            environment=emulators.environment(self._account, self._endpoints),
            metadata=imds,
            settings=self._configuration.room,
        )
        self._report_ready()
        return room

    @property
    def _endpoints(self) -> dict[str, str]:
        return emulators.endpoints(self._record.ports)

    def _bring_up(self) -> None:
        """Emulators running, answering, and holding what was applied."""
        killed = self._crashed and not self._runs("ministack")
        started = self._start_emulators()
        if killed:
            self._folder.add_notice(LOST)
        self._must_apply = self._must_apply or bool(started)
        self._apply_again()

    def _apply_again(self) -> None:
        """Make what `gpupipe up` had made, where an emulator forgot it; a failure is told, not fatal: `up` mends it."""
        self._next_apply = time.monotonic() + APPLY_AGAIN_S
        if not self._must_apply:
            return
        try:
            if config := apply.applied_config(self._folder):
                apply.apply_again(config, self._aws())
            self._must_apply = False
        except LockedError:
            log.info("a command is changing the stack; what it leaves is looked at again later")
        except Exception as error:
            self._must_apply = False
            log.exception("could not apply again")
            text = f"After a restart not everything could be made again: {_said(error)}"
            self._folder.add_notice(f"{text} Run `gpupipe up`.")

    def _aws(self) -> Aws:
        keys = {"aws_access_key_id": self._account.access_key, "aws_secret_access_key": self._account.secret_key}
        stack = self._configuration.stack(self._account.account_id)
        return Aws(stack=stack, endpoints=self._endpoints, credentials=keys)

    def _start_emulators(self) -> set[str]:
        """Adopt the emulators that run and start the others; returns the names of those started."""
        started: set[str] = set()
        moved = False
        for name in emulators.NAMES:
            if self._runs(name) and not moved:
                continue
            self._end_emulator(name)
            wanted = self._record.ports.get(name, 0)
            port, process = emulators.start(
                name, self._folder.path, account=self._account, ports=self._record.ports, wanted_port=wanted
            )
            self._record = replace(self._record, emulators={**self._record.emulators, name: process})
            self._note_port(name, port)
            started.add(name)
            moved = port != wanted  # ministack's functions know moto by its address
        for name in started:
            process, port = self._record.emulators[name], self._record.ports[name]
            emulators.wait_ready(name, self._folder.path, process=process, port=port)
        return started

    def _runs(self, name: str) -> bool:
        process, port = self._record.emulators.get(name), self._record.ports.get(name)
        return process is not None and port is not None and process.alive and emulators.answers(port)

    def _end_emulator(self, name: str) -> None:
        if process := self._record.emulators.get(name):
            processes.end(process, grace_s=emulators.STOP_GRACE_S)

    def _report_ready(self) -> None:
        self._folder.write_target(
            Target(
                account_id=self._account.account_id,
                region=self._account.region,
                access_key=self._account.access_key,
                secret_key=self._account.secret_key,
                endpoints=self._endpoints,
                generation=self._record.generation,
                supervisor_pid=os.getpid(),
                started_at=self._record.started_at,
            )
        )
        self._record = replace(self._record, phase="ready")
        self._save()
        log.info("ready: %s", self._endpoints)

    # --- working ------------------------------------------------------------------------------------------------

    def _work(self, room: MachineRoom) -> None:
        while not self._stop.wait(STEP_S):
            if not self._folder.endpoint_file.exists():
                log.info("the folder was removed")
                return
            if not all(process.alive for process in self._record.emulators.values()) or self._hung():
                self._recover()
                continue
            if time.monotonic() >= self._next_apply:
                self._apply_again()
            try:
                room.step()
            except Exception:
                # An emulator that has just died, or a mistake of ours: neither may end the daemon.
                log.exception("the machine room could not do its work; it tries again")

    def _recover(self) -> None:
        dead = [name for name, process in self._record.emulators.items() if not process.alive]
        log.warning("restarting %s", " and ".join(dead) or "what is hung")
        self._folder.endpoint_file.unlink(missing_ok=True)
        self._crashed = True
        self._record = replace(self._record, phase="starting")
        self._save()
        self._folder.add_notice(f"The local target's {' and '.join(dead)} ended unexpectedly and was started again.")
        self._bring_up()
        self._report_ready()

    def _hung(self) -> bool:
        """Whether an emulator has not answered for a while; it is ended then."""
        if time.monotonic() < self._next_health_check:
            return False
        self._must_apply = False
        self._next_apply = 0.0
        self._next_health_check = time.monotonic() + HEALTH_CHECK_S
        for name in emulators.NAMES:
            self._deaf[name] = 0 if emulators.answers(self._record.ports[name]) else self._deaf[name] + 1
            if self._deaf[name] >= DEAF_CHECKS:
                self._deaf[name] = 0
                self._end_emulator(name)
                return True
        return False

    # --- ending -------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._folder.endpoint_file.unlink(missing_ok=True)
        if self._room:
            self._room.close()
        if self._imds:
            self._imds.close()
        processes.end(*self._record.emulators.values(), grace_s=emulators.STOP_GRACE_S)
        self._record = replace(self._record, phase="failed" if self._record.problem else "stopped", emulators={})
        if self._folder.path.is_dir():
            self._save()
        log.info(self._record.phase)

    def _note_port(self, name: str, port: int) -> None:
        self._record = replace(self._record, ports={**self._record.ports, name: port})
        self._save()

    def _save(self) -> None:
        self._folder.write_record(self._record)


def impatient_client(account: Account, endpoints: Mapping[str, str]) -> Callable[[str], Any]:
    """boto3 clients that give up at once (`gpupipe.aws` waits): a dead emulator is to be noticed, not awaited."""
    import boto3
    from botocore.config import Config

    session: Any = boto3.Session(account.access_key, account.secret_key, region_name=account.region)
    patience = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=20)

    @functools.cache
    def client(service: str) -> Any:
        url = endpoints.get(service, endpoints["default"])
        return session.client(service, endpoint_url=url, config=patience)

    return client


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, GpupipeError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
