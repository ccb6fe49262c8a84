"""One round, played: a person's commands on a stack that is up, while processes are killed and the ledger is read."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from tests.e2e.conftest import SEGMENT, Person
from tests.soak.errand import Errand, GivenUpError, starting
from tests.soak.findings import faults, faults_of
from tests.soak.pictures import plant
from tests.soak.stall import Places, Stall, places_of
from tests.soak.storm import CLI, Blow, During, Round, due
from tests.soak.victims import strike

from gpupipe.clock import SYSTEM
from gpuworker.ledger import JobRecord, Ledger, Totals

LOOK_S = 0.25
ROUND_S = 600.0
"""The longest that a round may take: on two cores with nothing beside it one takes 40 to 90 s."""
VISIBILITY_S = 20
STALL_S = VISIBILITY_S + 10.0
"""The longest that nothing may move: what a killed worker held comes back after the visibility timeout."""
PIPELINES = f"""{SEGMENT}
        [pipelines.segment.task_options]
        engine = "vegetation"
        """


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of a round."""

    faults: Sequence[str]
    stall_s: float = 0.0
    failures: Sequence[str] = ()
    """What commands said that did not end well, and were typed again."""


def play(person: Person, one: Round, *, images: int, report: Callable[[str], None]) -> Played:
    """Play a round on a stack that is up; `report` is told of each blow."""
    for folder in ("images", "results"):
        shutil.rmtree(person.folder / folder, ignore_errors=True)
    planted = plant(person.folder / "images", images, seed=one.seed)
    errand = Errand(starting(person), one.commands, project=project_of(one), folder=person.folder)
    stall = Stall(SYSTEM)
    try:
        _until_over(person, one, errand, stall, report)
        found = _examined(person, project_of(one), planted)
    except (GivenUpError, AssertionError) as error:
        found = [str(error)]
    finally:
        errand.end()
    return Played(faults=[*found, *errand.faults, *_too_long(stall)], stall_s=stall.longest_s, failures=errand.failures)


def project_of(one: Round) -> str:
    """A project of the round's own: several may share a stack."""
    return f"storm-{one.seed}"


def _too_long(stall: Stall) -> Iterator[str]:
    if stall.longest_s > STALL_S:
        yield f"nothing moved for {stall.longest_s:.0f} s, with shards at {dict(stall.at)}"


def _until_over(person: Person, one: Round, errand: Errand, stall: Stall, report: Callable[[str], None]) -> None:
    """Run the commands, and let the blows fall."""
    left, view, started = list(one.blows), View(person, project_of(one)), time.monotonic()
    while not errand.is_over:
        if time.monotonic() - started > ROUND_S:
            raise GivenUpError(f"the round took longer than {ROUND_S:.0f} s; {'; '.join(errand.failures[-3:])}")
        errand.step()
        view.look()
        if view.during is During.WORK:
            stall.look(view.places)
        for blow in list(due(left, view.during, view.at)):
            struck = _struck(person, errand, blow)
            # A victim that is not there yet is waited for, as long as that part of the job lasts.
            if struck or blow.during is not view.during:
                left.remove(blow)
                report(f"{time.monotonic() - started:.1f} s: {blow}: {', '.join(map(str, struck)) or 'none was there'}")
        time.sleep(LOOK_S)


def _struck(person: Person, errand: Errand, blow: Blow) -> Sequence[int]:
    return errand.strike() if blow.victim == CLI else strike(person, blow.victim)


class View:
    """What the ledger says of a project's job, as often as it is looked at."""

    def __init__(self, person: Person, project: str) -> None:
        self._person, self._project = person, project
        self._ledger: Ledger | None = None
        self._since = time.monotonic()
        self.during = During.SUBMIT
        self._share = 0.0
        self.places: Places | None = None
        """Of its shards; None where the ledger cannot be read."""

    @property
    def at(self) -> float:
        """As `Blow.at`."""
        return self._share if self.during is During.WORK else time.monotonic() - self._since

    def look(self) -> None:
        """Read it again. A part once over does not come back: a ledger that forgot is a stall."""
        try:
            job = self._job()
            if job is not None:
                self._read(job)
        except (BotoCoreError, ClientError, AssertionError, ValueError):  # a killed emulator may lack its table too
            self.places, self._ledger = None, None

    def _read(self, job: JobRecord) -> None:
        shards = list(self._opened().shards(job.job))
        totals = Totals.of(shards)
        self.places = places_of(shards)
        self._share = max(self._share, (totals.done + totals.failed + totals.progressed) / max(1, totals.items))
        during = During.FETCH if job.is_over else During.WORK
        if during is not self.during and self.during is not During.FETCH:
            self.during, self._since = during, time.monotonic()

    def _job(self) -> JobRecord | None:
        return next(self._opened().jobs(project=self._project), None)

    def _opened(self) -> Ledger:
        if self._ledger is None:
            client = self._person.client("dynamodb")
            (table,) = client.list_tables()["TableNames"]
            self._ledger = Ledger(client, table)
        return self._ledger


def _examined(person: Person, project: str, planted: Mapping[str, int]) -> list[str]:
    """What is wrong once all commands have come to their end."""
    listed = person.jobs(project)
    if not listed:
        return ["there is no job"]
    view = person.types("watch", listed[0]["job"], "--json", code=None).document
    again = person.types("fetch", listed[0]["job"], "-o", "results", "--json", code=None)
    found = [*faults(view, planted, jobs=len(listed)), *faults_of(person.folder / "results", planted)]
    if again.code != 0 or again.document["files_fetched"]:
        found.append(f"fetched again: {again.code}, {again.out[-300:]} {again.err[-300:]}")
    return found


def left_over(person: Person) -> list[str]:
    """What is wrong with the end of a stack: takes it down."""
    done = person.runs("down", "--yes", "--json", code=None)
    with contextlib.suppress(ValueError):
        if done.code == 0 and not done.document["leftovers"]:
            running = [process.pid for process in person.processes()]
            return [f"processes {running} are left"] if running else []
    return [f"down left something: {done.out[-500:]}{done.err[-500:]}"]
