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
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpupipe.aws import Aws
from gpupipe.clock import SYSTEM, looks
from gpupipe.errors import GpupipeError, LockedError
from gpupipe.local import apply, moto_state
from gpupipe.local.configuration import Configuration
from gpupipe.local.emulators import NAMES, START_TIMEOUT_S, Account, Substitute, environment
from gpupipe.local.pair import EmulatorPair
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners import EmulatedAccount, Runner, Site, runner_classes
from gpupipe.local.state import Folder, Target
from gpupipe.threads import at_once

STEP_S = 0.5
APPLY_AGAIN_S = 5.0
APPLY_TRIES = 3
"""Of what emulators that die again and again let nobody end; the next step goes on with it."""
RESUMED = "The local target had ended unexpectedly; it was started again."
LOST = (
    "The emulated AWS was killed and is back as it was seconds before: objects are all there, and what happened last "
    "to queues and tables is made again from them. Unfinished work will be sent again."
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
    """One run of the daemon, with the runners of the table."""

    def __init__(
        self, config_path: Path, folder: Folder, *, runners: Callable[[], Iterable[type[Runner]]] = runner_classes
    ) -> None:
        self._folder = folder
        self._runner_classes = runners
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
        self._next_apply = 0.0
        self._pair: EmulatorPair | None = None
        self._runners: tuple[Runner, ...] = ()
        self._are_open = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._note()
        try:
            self._start()
            self._work()
        except Exception as error:
            log.exception("the local target ends")
            self._record = replace(self._record, problem=_said(error))
        finally:
            self._end()
        return 1 if self._record.problem else 0

    # --- starting -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._account = self._folder.account(self._configuration.get().stack.region)
        known = self._record.ports
        # Before the emulators: functions are told where runners listen when ministack starts.
        self._runners = self._made_runners(known)
        pair = self._pair = self._found_pair(known)
        if self._crashed:
            self._folder.add_notice(RESUMED)
        killed = self._crashed and not pair.runs("ministack")
        if any(runner.serves and known.get(runner.port_name) != runner.port for runner in self._runners):
            pair.end("ministack")
        self._bring_up(pair, killed=killed)
        self._note(ports=self._ports(pair))
        self._open_runners(pair)
        self._apply_again(pair)
        self._report_ready(pair)

    def _made_runners(self, known: Mapping[str, int]) -> tuple[Runner, ...]:
        site = Site(
            stack_id=self._configuration.get().stack.id,
            folder=self._folder,
            account=self._account,
            settings=self._configuration.runner_settings,
        )
        return tuple(made(site, port=known.get(made.port_name, 0)) for made in self._runner_classes())

    def _found_pair(self, known: Mapping[str, int]) -> EmulatorPair:
        return EmulatorPair(
            self._folder.path,
            self._account,
            running=self._record.emulators,
            ports={name: port for name, port in known.items() if name in NAMES},
            substitutes=[
                Substitute(port=runner.port, services=runner.serves, environment=runner.emulator_environment)
                for runner in self._runners
            ],
            changed=lambda pair: self._note(emulators=dict(pair.processes), ports=self._ports(pair), must_apply=True),
            say=self._folder.add_notice,
        )

    def _ports(self, pair: EmulatorPair) -> dict[str, int]:
        listening = {runner.port_name: runner.port for runner in self._runners if runner.port_name}
        return {**self._record.ports, **listening, **pair.ports}

    def _bring_up(self, pair: EmulatorPair, *, killed: bool) -> None:
        """Emulators running and answering."""
        started = pair.bring_up()
        if killed:
            self._folder.add_notice(LOST)
        if "ministack" in started:
            self._free_leases(pair)

    def _free_leases(self, pair: EmulatorPair) -> None:
        """A failure is told, not fatal: leases end by themselves."""
        try:
            if config := apply.applied_config(self._folder):
                apply.free_leases(config, self._aws(pair))
        except Exception:
            log.exception("could not free the leases of functions that were killed")

    def _apply_again(self, pair: EmulatorPair) -> None:
        """Make what `gpupipe up` had made, where an emulator forgot it; what was started again meanwhile has forgotten
        it once more."""
        self._next_apply = time.monotonic() + APPLY_AGAIN_S
        for _ in range(APPLY_TRIES):
            if not self._record.must_apply or self._apply_beside_runners(pair):
                return

    def _apply_beside_runners(self, pair: EmulatorPair) -> bool:
        """The runners work meanwhile, for an endpoint is only there when its containers are.

        False where an emulator died and was started again: at once, for what applies goes on asking it.
        """
        asked = dict(pair.processes)
        outcome = at_once({"apply": self._apply_once_with(pair)})["apply"]
        while not outcome.done() and not self._stop.wait(STEP_S):
            if pair.dead:
                self._restart(pair)
            self._step_runners()
        if pair.processes != asked or pair.dead:
            return False
        if outcome.done():
            self._note_applied(outcome)
        return True

    def _apply_once_with(self, pair: EmulatorPair) -> Callable[[], None]:
        def apply_once() -> None:
            if config := apply.applied_config(self._folder):
                apply.apply_again(config, self._aws(pair))

        return apply_once

    def _note_applied(self, outcome: "Future[None]") -> None:
        """A failure is told, not fatal: `up` mends it."""
        error = outcome.exception()
        if isinstance(error, LockedError):
            log.info("a command is changing the stack; what it leaves is looked at again later")
            return
        if error is not None:
            log.error("could not apply again", exc_info=error)
            text = f"After a restart not everything could be made again: {_said(error)}"
            self._folder.add_notice(f"{text} Run `gpupipe up`.")
        self._note(must_apply=False)

    def _aws(self, pair: EmulatorPair) -> Aws:
        keys = {"aws_access_key_id": self._account.access_key, "aws_secret_access_key": self._account.secret_key}
        stack = self._configuration.stack(self._account.account_id)
        return Aws(stack=stack, endpoints=pair.endpoints, credentials=keys, attendant=AwaitsPair(pair))

    def _open_runners(self, pair: EmulatorPair) -> None:
        emulated = EmulatedAccount(
            client=impatient_client(self._account, pair.endpoints),
            endpoints=pair.endpoints,
            environment=environment(self._account, pair.endpoints),
        )
        self._are_open = True
        for runner in self._runners:
            runner.open(emulated)

    def _report_ready(self, pair: EmulatorPair) -> None:
        self._folder.write_target(
            Target(
                account_id=self._account.account_id,
                region=self._account.region,
                access_key=self._account.access_key,
                secret_key=self._account.secret_key,
                endpoints=pair.endpoints,
                generation=self._record.generation,
                supervisor_pid=os.getpid(),
                started_at=self._record.started_at,
            )
        )
        self._note(phase="ready")
        log.info("ready: %s", pair.endpoints)

    # --- working ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._pair is not None
        while not self._stop.wait(STEP_S):
            if not self._folder.endpoint_file.exists():
                log.info("the folder was removed")
                return
            self._pair.end_hung()
            if self._pair.dead:
                self._recover(self._pair)
            elif time.monotonic() >= self._next_apply:
                self._apply_again(self._pair)
            self._step_runners()

    def _step_runners(self) -> None:
        self._ask_each(lambda runner: runner.step(), "do its work; it tries again")

    def _ask_each(self, act: Callable[[Runner], None], what: str) -> None:
        """An emulator that has just died, or a mistake of ours: neither may end the daemon, or stop the others."""
        for runner in self._runners:
            try:
                act(runner)
            except Exception:
                log.exception("%s could not %s", type(runner).__name__, what)

    def _recover(self, pair: EmulatorPair) -> None:
        self._folder.endpoint_file.unlink(missing_ok=True)
        self._note(phase="starting")
        self._restart(pair)
        self._apply_again(pair)
        self._report_ready(pair)

    def _restart(self, pair: EmulatorPair) -> None:
        """Start what is dead; workers know addresses: where those change, they are started again."""
        dead, endpoints = pair.dead, pair.endpoints
        log.warning("starting %s again", " and ".join(dead))
        self._folder.add_notice(f"The local target's {' and '.join(dead)} ended unexpectedly and was started again.")
        self._bring_up(pair, killed="ministack" in dead)
        if pair.endpoints != endpoints:
            self._ask_each(lambda runner: runner.close(), "end its workers")
            self._open_runners(pair)
        if self._record.phase == "ready":
            self._report_ready(pair)

    # --- ending -------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._folder.endpoint_file.unlink(missing_ok=True)
        self._ask_each(lambda runner: runner.end(), "end its workers")
        if self._pair:
            self._pair.end_all()
        if self._are_open:  # else machines may run that an earlier supervisor has left, and the next takes over
            moto_state.forget(self._folder.path / "moto")
        self._note(phase="failed" if self._record.problem else "stopped")
        log.info(self._record.phase)

    def _note(self, **changes: Any) -> None:
        """Change the record and write it, unless a person has removed the folder."""
        self._record = replace(self._record, **changes)
        if self._folder.path.is_dir():
            self._folder.write_record(self._record)


class AwaitsPair:
    """For what the supervisor itself asks the emulators, in a thread beside the one that starts them again."""

    def __init__(self, pair: EmulatorPair) -> None:
        self._pair = pair

    def require(self) -> None:
        """They may always come back."""

    def restore(self) -> None:
        for _ in looks(SYSTEM, within_s=START_TIMEOUT_S, pause_s=STEP_S):
            if all(map(self._pair.runs, NAMES)):
                return

    def end(self) -> None:
        """It does nothing by itself."""


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


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, GpupipeError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
