"""What goes on in a stack, over all its pipelines."""

from __future__ import annotations

import pytest
from tests.jobs.desk import Desk, a_config
from tests.jobs.test_listing import record
from tests.jobs.test_pulse import a_machine as machine

from gpupipe.config import Config
from gpupipe.jobs import overview as overviews
from gpupipe.jobs.overview import JOBS_LOOKED_AT, Overview, overview
from gpuworker.ledger import Intake, JobState, ShardRecord

JOBS = [f"20261101-1000{number:02}-field7-aaaa" for number in range(JOBS_LOOKED_AT + 2)]


def opened(desk: Desk, job: str, **about: object) -> None:
    """A job that dispatch has begun."""
    shard = ShardRecord(job=job, number=0, items=3, created_at=5.0)
    assert desk.ctx.ledger.open_job(record(job, state=JobState.PENDING, intake=Intake.SEALED, **about), [shard])


def found(desk: Desk) -> Overview:
    seen = overview(desk.ctx.aws, desk.ctx.config)
    assert seen is not None
    return seen


def test_where_nothing_goes_on(desk: Desk) -> None:
    assert found(desk) == Overview(guards={"segment": {}})


def test_open_jobs_come_newest_first_and_the_newest_are_looked_at(desk: Desk) -> None:
    # given more open jobs than a screen shows, one that is over, and one of nobody's pipeline
    for job in JOBS:
        opened(desk, job)
    desk.ctx.ledger.put_job(record("20261102-100000-field7-bbbb", state=JobState.FINISHED))
    opened(desk, "20261103-100000-field7-cccc", pipeline="other")
    # when
    seen = found(desk)
    # then
    assert [job.job for job in seen.open_jobs] == JOBS[::-1]
    assert [view.job.job for view in seen.views] == JOBS[::-1][:JOBS_LOOKED_AT]
    assert {view.totals.items for view in seen.views} == {3}
    assert seen.views[0].waiting == ["Waiting for the guard's first look, which comes within a minute."]


def test_machines_the_guards_look_and_stopped_pipelines_are_in_it(desk: Desk) -> None:
    ledger = desk.ctx.ledger
    ledger.put_machine(machine(machine="i-1"))
    ledger.put_guard_status("segment", {"at": 7.0})
    ledger.set_control("segment", paused=True)
    seen = found(desk)
    assert [one.machine for one in seen.machines] == ["i-1"]
    assert (seen.guards["segment"]["at"], seen.paused) == (7.0, ("segment",))


def test_a_pipeline_that_no_up_has_made_yet_hides_no_other(desk: Desk) -> None:
    opened(desk, JOBS[0])
    two = Config(
        stack=a_config(desk.ctx.aws.stack).stack,
        pipelines={name: {"kind": "queue", "task": "segment"} for name in ("segment", "unmade")},
    )
    seen = overviews.overview(desk.ctx.aws, two)
    assert seen is not None
    assert [job.job for job in seen.open_jobs] == [JOBS[0]]
    assert set(seen.guards) == {"segment", "unmade"}


@pytest.mark.parametrize("jobs", [0, 1])
def test_without_a_ledger_nobody_knows(desk: Desk, jobs: int) -> None:
    for job in JOBS[:jobs]:
        opened(desk, job)
    desk.ctx.aws.client("dynamodb").delete_table(TableName=desk.ctx.aws.stack.table)
    assert overview(desk.ctx.aws, desk.ctx.config) is None
