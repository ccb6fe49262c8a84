"""The supervisor's two emulators: adopted where they run, started where they do not, ended where they hang."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpupipe.errors import TargetError
from gpupipe.local import emulators, processes
from gpupipe.local.emulators import Account, EmulatorEndedError, Substitute
from gpupipe.local.processes import ProcessName

START_TRIES = 3
"""Of an emulator that ends while it starts: the system may have been short of memory for a moment."""
HEALTH_CHECK_S = 10.0
DEAF_CHECKS = 4  # so many checks in a row without an answer, and an emulator counts as hung …
BUSY_CHECKS = 60  # … or so many while it computes: putting an upload of gigabytes together takes minutes
BUSY_FROM_S = 0.2  # of processor time between two checks


class EmulatorPair:
    """moto and ministack of one stack, as processes that outlive a supervisor.

    `changed` is called whenever `processes` or `ports` have changed, before anything else happens: what is not noted
    cannot be adopted after a crash. `say` is told what people should know.
    """

    def __init__(
        self,
        folder: Path,
        account: Account,
        *,
        running: Mapping[str, ProcessName],
        ports: Mapping[str, int],
        substitutes: Sequence[Substitute] = (),
        changed: Callable[["EmulatorPair"], None],
        say: Callable[[str], None] = lambda _: None,
        check_s: float = HEALTH_CHECK_S,
        busy_from_s: float = BUSY_FROM_S,
    ) -> None:
        self.processes = dict(running)
        self.ports = dict(ports)
        self._folder = folder
        self._account = account
        self._substitutes = substitutes
        self._changed = changed
        self._say = say
        self._check_s = check_s
        self._busy_from_s = busy_from_s
        self._next_check = time.monotonic() + check_s
        self._deaf = dict.fromkeys(emulators.NAMES, 0)
        self._computed_s = dict.fromkeys(emulators.NAMES, 0.0)

    @property
    def endpoints(self) -> dict[str, str]:
        return emulators.endpoints(self.ports, self._substitutes)

    @property
    def dead(self) -> list[str]:
        """Those that should run and do not."""
        return [name for name, process in self.processes.items() if not process.alive]

    def runs(self, name: str) -> bool:
        """Whether it is there and answers."""
        process = self.processes.get(name)
        return process is not None and process.alive and emulators.answers(self.ports[name])

    def bring_up(self) -> set[str]:
        """Adopt what runs and start the rest, each at its old port if that is free; returns the names of those started.

        Raises TargetError.
        """
        self._end_strays()
        started: set[str] = set()
        for attempt in range(1, START_TRIES + 1):
            started |= self._start_missing()
            try:
                self._await(started)
                break
            except EmulatorEndedError as error:
                if attempt == START_TRIES:
                    raise TargetError(f"{START_TRIES} times: {error}", hint=error.hint) from error
                self._say(f"The local target's {error.name} ended while starting; it is started again.")
        return started

    def _start_missing(self) -> set[str]:
        started: set[str] = set()
        moved = False
        for name in emulators.NAMES:
            if not self.runs(name) or moved:
                before = self.ports.get(name, 0)
                self._start(name)
                started.add(name)
                moved = self.ports[name] != before  # ministack's functions know moto by its address
        return started

    def _await(self, names: set[str]) -> None:
        for name in emulators.NAMES:
            if name in names:
                emulators.wait_ready(name, self._folder, process=self.processes[name], port=self.ports[name])

    def _end_strays(self) -> None:
        """End emulators of this folder that a killed supervisor had started and not yet noted."""
        known = {process.pid for process in self.processes.values() if process.alive}
        found = processes.running_modules("gpupipe.local.emulator", self._folder)
        processes.end(*(one for one in found if one.pid not in known), grace_s=emulators.STOP_GRACE_S)

    def _start(self, name: str) -> None:
        self.end(name)
        if before := self.processes.get(name):
            processes.end_left_behind(before)  # functions, which would go on beside those that are called from now on
        wanted = self.ports.get(name, 0)
        port, process = emulators.start(
            name,
            self._folder,
            account=self._account,
            ports=self.ports,
            substitutes=self._substitutes,
            wanted_port=wanted,
        )
        self.ports[name], self.processes[name] = port, process
        self._changed(self)

    def end_hung(self) -> None:
        """End an emulator that has not answered for a while; from time to time this looks whether they do."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + self._check_s
        for name in self.processes:
            self._deaf[name] = 0 if emulators.answers(self.ports[name]) else self._deaf[name] + 1
            if self._deaf[name] >= (BUSY_CHECKS if self._is_busy(name) else DEAF_CHECKS):
                self._deaf[name] = 0
                self.end(name)

    def _is_busy(self, name: str) -> bool:
        """Whether it has computed since this was asked before."""
        before, now = self._computed_s[name], self.processes[name].computed_s
        self._computed_s[name] = now
        return now - before > self._busy_from_s

    def end(self, *names: str) -> None:
        """End these; ministack saves its state first."""
        known = [self.processes[name] for name in names if name in self.processes]
        processes.end(*known, grace_s=emulators.STOP_GRACE_S)

    def end_all(self) -> None:
        self.end(*self.processes)
        self.processes = {}
        self._changed(self)
