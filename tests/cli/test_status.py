"""Whole screens of `status`: jobs and money first, then what is wrong, then how much is well."""

from __future__ import annotations

import calendar
import json
import re
from pathlib import Path
from typing import Any

from tests.cli.conftest import Types
from tests.cli.running_target import running_target
from tests.jobs.desk import a_desk
from tests.jobs.test_listing import record
from tests.jobs.test_pulse import a_machine as machine

from gpupipe.cli.status import Shown, gathered
from gpupipe.jobs.listing import JobSummary, summary_of
from gpupipe.jobs.overview import Overview
from gpupipe.jobs.watch import JobView
from gpupipe.local.emulators import Emulators
from gpupipe.provision import ResourceStatus, StackStatus
from gpuworker.ledger import JobState, MachineRecord, MachineState, Run, Totals

NOON = float(calendar.timegm((2026, 11, 27, 12, 0, 0)))
JOB, HELD = "20261127-100000-field7-a166", "20261127-090000-field8-b2c3"
LOCAL = {
    "phase": "ready",
    "folder": "/x",
    "processes": [{"name": "moto", "pid": 11, "url": "http://127.0.0.1:1"}],
    "containers": [{"variant": "main", "instance": "i-7", "pid": 12, "state": "ready"}],
}


def resource(number: int, state: str = "present", **about: Any) -> ResourceStatus:
    usual: dict[str, Any] = {"kind": "queue", "name": f"demo-dev-q{number}", "key": f"q{number}", "pipeline": "segment"}
    return ResourceStatus(**{**usual, "state": state, **about})


def stack(*wrong: ResourceStatus, well: int = 20, **about: Any) -> StackStatus:
    usual: dict[str, Any] = {
        "stack": "demo-dev",
        "account": "1" * 12,
        "region": "us-east-1",
        "resources": (*(resource(number) for number in range(well)), *wrong),
        "machines": (),
        "unwanted": (),
        "locked_by": "",
        "broken_off": "",
        "usd_per_month": 0.37,
    }
    return StackStatus(**{**usual, **about})


def job(name: str, state: str) -> JobSummary:
    return summary_of(record(name, state=JobState(state)))


def a_machine(**about: Any) -> MachineRecord:
    """Up since ten, at half a dollar an hour."""
    usual: dict[str, Any] = {
        "machine": "i-1",
        "instance_type": "g5.xlarge",
        "zone": "us-east-1a",
        "market": "spot",
        "price_usd_per_hour": 0.5,
        "launched_at": NOON - 7200,
        "run_started_at": NOON - 7200,
        "state": MachineState.RUNNING,
        "runs": (),
        "seconds_by_month": {},
    }
    return machine(**{**usual, **about})


def shown(of: StackStatus, work: Overview | None = None, *, nobody_knows: bool = False, **about: Any) -> Shown:
    usual: dict[str, Any] = {"region": "us-east-1", "budgets": {}, "local": None, "now": NOON}
    known = None if nobody_knows else work or Overview(guards={"segment": {}})
    return gathered(of, known, **{**usual, **about})


def busy() -> Overview:
    """One job at work on a machine, one that waits; an endpoint; and eight dollars of last week."""
    running, held = job(JOB, "running"), job(HELD, "held")
    totals = Totals(items=200, done=99, failed=1, running=100, shards=4, shards_open=2, counts={"annotations": 300})
    waits = JobView(at=NOON, job=held, totals=Totals(items=3, pending=3), waiting=["Held until `gpupipe start`."])
    works = JobView(at=NOON, job=running, totals=totals, items_per_s=2.5, seconds_left=40.0, is_open=True)
    old = a_machine(
        machine="i-0",
        state=MachineState.TERMINATED,
        launched_at=NOON - 7 * 86_400,
        seconds_by_month={"2026-11": 16 * 3600.0},
    )
    endpoint = {"status": "InService", "variants": [], "backlog": 0}
    return Overview(
        open_jobs=(running, held),
        views=(works, waits),
        machines=(old, a_machine()),
        guards={"segment": {}, "rooms": {"at": NOON - 30, "endpoint": endpoint}},
        backends={"rooms": "endpoint of rooms: InService"},
        paused=("rooms",),
    )


def test_a_busy_stack_on_aws() -> None:
    seen = shown(stack(machines=("i-1", "i-2")), busy(), budgets={"segment": 50.0})
    assert (
        seen.text(with_resources=False)
        == f"""\
jobs: 2 open (1 held, 1 running)
  {JOB}  running; 100 of 200 images, 300 things found, 1 FAILED; 2.5 images/s, 40 s left; takes what is dropped in
  {HELD}  held; 0 of 3 images
    Held until `gpupipe start`.
  pipeline rooms is stopped: nothing starts before `gpupipe start`
now: 1 machine runs and costs about $0.50 an hour
  i-1  g5.xlarge us-east-1a spot, running
  i-2  off
  endpoint of rooms: InService (30 s ago)
spent: about $1.00 today and about $9.00 this month (UTC), for machines
  budget of segment: about $9.00 of $50.00 this month
  by AWS's list prices of 2026-11, before tax; an estimate for spot
standing: about $0.37 a month for what is there, used or not; data and disks not counted
20 resources are as they should be; `gpupipe status --resources` lists them"""
    )


def test_what_was_forgotten_of_today_makes_it_at_least_so_much() -> None:
    runs = [
        Run(started_at=NOON - 3600 * hour, stopped_at=NOON - 3600 * hour + 1800, shards=1) for hour in range(9, 4, -1)
    ]
    old = a_machine(state=MachineState.STOPPED, launched_at=0.0, runs=runs, seconds_by_month={"2026-11": 14_400.0})
    lines = shown(stack(), Overview(machines=(old,), guards={})).text(with_resources=False).splitlines()
    assert lines[2] == "spent: at least about $1.25 today and about $2.00 this month (UTC), for machines"


def test_the_same_on_the_local_target_costs_nothing() -> None:
    lines = shown(stack(), busy(), local=LOCAL).text(with_resources=False).splitlines()
    assert lines[5] == "now: 1 machine runs and costs nothing here; about $0.50 an hour on AWS"
    assert lines[8:] == [
        "spent: nothing here; about $1.00 today and about $9.00 this month (UTC) on AWS, for machines",
        "  by AWS's list prices of 2026-11, before tax; an estimate for spot",
        "standing: nothing here; about $0.37 a month on AWS for what is there, used or not; data and disks not counted",
        "20 resources are as they should be; `gpupipe status --resources` lists them",
        "local target: ready, files in /x",
        "  moto        pid 11      http://127.0.0.1:1",
        "  container   pid 12      main/i-7, ready",
        '  for the AWS CLI: eval "$(gpupipe local env)"; aws s3 ls',
    ]


def test_a_quiet_stack_with_what_is_wrong_one_a_line() -> None:
    wrong = (
        resource(90, "missing"),
        resource(91, "changed", note="visibility_timeout_s"),
        resource(92, "foreign", note="is of stack other-dev"),
        resource(93, note="Failed: no quota\n of g5"),
    )
    seen = shown(stack(*wrong, well=1, unwanted=("queue old",), locked_by="ada (gpupipe up) since 11:58"))
    assert (
        seen.text(with_resources=False)
        == """\
jobs: none is open
now: no machine runs
spent: nothing on machines this month (UTC)
standing: about $0.37 a month for what is there, used or not; data and disks not counted
being changed by ada (gpupipe up) since 11:58: what is missing may be on its way
not as it should be:
  MISSING   queue demo-dev-q90
  differs   queue demo-dev-q91: visibility_timeout_s
  NOT OURS  queue demo-dev-q92: is of stack other-dev
  ok        queue demo-dev-q93: Failed: no quota of g5
not in gpupipe.toml any more: queue old
1 resource is as it should be; `gpupipe status --resources` lists them"""
    )


def test_what_a_killed_command_has_left_is_told_with_the_way_on() -> None:
    killed = "ada@desk (`gpupipe down`, process 12)"
    lines = shown(stack(resource(90, "missing"), broken_off=killed)).text(with_resources=False).splitlines()
    at = lines.index(f"{killed} was killed: `gpupipe up` makes the stack whole, `gpupipe down` deletes the rest")
    assert lines[at + 1 : at + 3] == ["not as it should be:", "  MISSING  queue demo-dev-q90"]
    # but not where it was killed when all was done
    assert "was killed" not in shown(stack(broken_off=killed)).text(with_resources=False)


def test_every_resource_is_listed_where_that_is_asked_for() -> None:
    lines = shown(stack(resource(90, "missing"), well=2)).text(with_resources=True).splitlines()
    assert lines[4:] == [
        "resources:",
        "  ok       queue demo-dev-q0",
        "  ok       queue demo-dev-q1",
        "  MISSING  queue demo-dev-q90",
        "2 resources are as they should be",
    ]


def test_where_there_is_no_ledger_nothing_is_said_that_nobody_knows() -> None:
    none = stack(*(resource(number, "missing") for number in range(23)), well=0, usd_per_month=0.0, machines=("i-9",))
    seen = shown(none, nobody_knows=True)
    assert (
        seen.text(with_resources=False)
        == """\
jobs: not known, since there is no ledger
now: what runs is not known
  i-9  is there
spent: not known
standing: about $0.00 a month for what is there, used or not; data and disks not counted
nothing of the stack is there: `gpupipe up` makes its 23 resources"""
    )
    assert [seen.document()[name] for name in ("jobs_open", "jobs", "paused", "spending")] == [None] * 4


def test_more_jobs_than_are_looked_at_are_counted() -> None:
    many = Overview(open_jobs=tuple(job(f"20261127-1000{n:02}-f-aaaa", "pending") for n in range(12)), guards={})
    assert shown(stack(), many).text(with_resources=False).splitlines()[:2] == [
        "jobs: 12 open (12 pending)",
        "  and 12 more, which `gpupipe jobs` lists",
    ]


def test_a_price_that_is_not_known_is_no_price_of_nothing() -> None:
    odd = Overview(machines=(a_machine(instance_type="p9.huge", price_usd_per_hour=0.0),), guards={"segment": {}})
    lines = shown(stack(), odd).text(with_resources=False).splitlines()
    assert lines[1] == "now: 1 machine runs and costs what is not known"
    assert lines[3:5] == ["spent: not known", "  NOT counted, since the price is not known: p9.huge"]


def test_an_endpoints_least_instances_are_not_counted_twice() -> None:
    # given one that runs day and night, which the ledger counts as a machine
    target = resource(90, kind="scalable target", usd_per_month=167.9)
    instance = a_machine(machine="main/1", instance_type="ml.m5.xlarge", zone="", market="on-demand")
    work = Overview(machines=(instance,), guards={"rooms": {}})
    lines = shown(stack(target, usd_per_month=168.27), work).text(with_resources=False).splitlines()
    # then
    assert lines[2] == "  main/1  ml.m5.xlarge on-demand, running"
    assert lines[5:7] == [
        "standing: about $0.37 a month for what is there, used or not; data and disks not counted",
        "  the endpoints' least instances, counted as machines, are about $168 a month",
    ]


def test_the_document_has_all_that_the_screen_has() -> None:
    document = json.loads(json.dumps(shown(stack(), busy(), local=LOCAL).document(), default=str))
    assert {"resources", "machines", "unwanted", "locked_by", "usd_per_month", "is_deployed"} <= set(document)
    assert [one["machine"] for one in document["running"]] == ["i-1"]
    assert [(one["pipeline"], one["seen_at"]) for one in document["endpoints"]] == [("rooms", NOON - 30)]
    assert (document["jobs_open"], [one["job"] for one in document["jobs"]]) == (2, [JOB, HELD])
    assert document["paused"] == ["rooms"]
    assert document["spending"] == {
        "hour_usd": 0.5,
        "today_usd": 1.0,
        "is_least_today": False,
        "month_usd": 9.0,
        "estimated_for": ["spot"],
        "unpriced": [],
    }


def test_the_command_shows_a_stack_that_lost_everything_but_its_ledger(
    types: Types, folder: Path, emulated: Emulators
) -> None:
    # given
    desk = a_desk(emulated, "looked-at")
    desk.ctx.ledger.put_machine(machine(machine="i-1", state=MachineState.TERMINATED))
    (folder / "gpupipe.toml").write_text(
        '[stack]\nname = "looked-at"\ntarget = "local"\n[pipelines.segment]\nkind = "queue"\ntask = "segment"\n'
    )
    with running_target(folder / "gpupipe.toml", "looked-at", emulated):
        # when
        typed, document, all_of_it = types("status"), types("status", "--json"), types("status", "--resources")
    # then
    assert (typed.code, typed.err, document.err) == (0, "", "")
    lines = typed.out.splitlines()
    assert lines[0] == "jobs: none is open"
    assert lines[1] == "now: no machine runs"
    assert "not as it should be:" in lines
    assert re.search(r"^  MISSING +state bucket", typed.out, re.MULTILINE)
    assert document.document["jobs"] == []
    assert len(document.document["resources"]) == sum(line.startswith("  ") for line in _below(all_of_it.out))


def _below(text: str) -> list[str]:
    lines = text.splitlines()
    start = lines.index("resources:")
    end = next(number for number, line in enumerate(lines) if line.startswith("local target"))
    return lines[start + 1 : end]


def test_a_pipeline_that_is_not_up_is_one_line() -> None:
    others = [resource(90 + number, "missing", pipeline="rooms") for number in range(3)]
    shown = gathered(stack(*others), None, region="us-east-1", budgets={}, local=None, now=NOON)
    text = shown.text(with_resources=False)
    assert "pipeline rooms is not up: `gpupipe up --pipeline rooms` makes its 3 resources" in text
    assert "not as it should be" not in text
    assert shown.text(with_resources=True).count("MISSING") == 3
