"""What a task hears of the work to come; the ledger is a real one on the emulator."""

from __future__ import annotations

from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.ledger.conftest import a_machine
from tests.gpuworker.station import PIPELINE, Station

from gpuworker.entries.backlog import AGAIN_AFTER_S, Backlog


class Expecting(FakeTask):
    def __init__(self) -> None:
        super().__init__()
        self.expected: list[int] = []

    def expect(self, items: int) -> None:
        self.expected.append(items)


def test_a_task_hears_its_part_of_what_is_to_come(station: Station) -> None:
    # given 12 items, and two machines that are up beside one that is gone
    [first, *_] = station.job(["tree"] * 12, shard_items=4, send=False)
    for machine, state in (("i-1", "running"), ("i-2", "running"), ("i-3", "terminated")):
        station.ledger.put_machine(a_machine(machine=machine, pipeline=PIPELINE, state=state))
    task, now = Expecting(), [0.0]
    backlog = Backlog(task, station.ledger, PIPELINE, clock=lambda: now[0])
    # when it is looked at again and again
    backlog.look({first.job})
    backlog.look({first.job})
    backlog.look(set())
    assert task.expected == [6]
    # then the ledger is asked again after minutes, or when another job comes
    now[0] += AGAIN_AFTER_S + 1
    backlog.look({first.job})
    [second] = station.job(["tree"] * 2, send=False)
    backlog.look({first.job, second.job})
    assert task.expected == [6, 6, 7]


def test_a_task_that_does_not_ask_costs_no_query(station: Station) -> None:
    class NoLedger:
        """Has nothing that could be asked."""

    Backlog(FakeTask(), NoLedger(), PIPELINE).look({"j"})  # type: ignore[arg-type]
