"""The state of a stack in words."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.pipelines.settings import STACK
from tests.plan.things import Thing

from gpupipe.cli.plans import show_plan, status_text
from gpupipe.cli.screen import Screen
from gpupipe.plan import Action, Change, Plan, Step

MACHINE = {"machine": "i-1", "type": "g5.xlarge", "zone": "us-east-1a", "market": "spot", "price_usd_per_hour": 0.5}
INSTANCE = {"machine": "main/1", "type": "ml.m5.xlarge", "zone": "", "market": "on-demand", "price_usd_per_hour": 0.23}


def told(**changed: Any) -> list[str]:
    nothing: dict[str, Any] = {"machines": (), "running": [], "endpoints": [], "unwanted": (), "locked_by": ""}
    return status_text({**nothing, "usd_per_month": 0.67, "local": None, **changed}).splitlines()


def test_machines_that_run_and_that_rest() -> None:
    lines = told(machines=("i-1", "i-2"), running=[{**MACHINE, "state": "seen"}])
    assert lines == [
        "machines: 2",
        "  i-1  g5.xlarge us-east-1a spot, seen",
        "  i-2  off",
        "costs $0.500 an hour for machines, and $0.67 a month for the rest, used or not",
    ]


def test_an_endpoint_and_its_instances_which_ec2_does_not_show() -> None:
    endpoint = {"pipeline": "rooms", "seen_at": time.time(), "status": "InService", "variants": [], "backlog": 0}
    lines = told(running=[{**INSTANCE, "state": "launched"}], endpoints=[endpoint])
    assert lines[0].startswith("endpoint of rooms: InService (")
    assert lines[1:3] == ["machines: 1", "  main/1  ml.m5.xlarge on-demand, launched"]


def test_without_anything() -> None:
    assert told()[0] == "machines: none"


def test_the_local_targets_processes_and_containers() -> None:
    container = {"variant": "main", "instance": "i-7", "pid": 12, "state": "ready"}
    moto = {"name": "moto", "pid": 11, "url": "http://127.0.0.1:1"}
    local = {"phase": "ready", "folder": "/x", "processes": [moto], "containers": [container]}
    lines = told(local=local, locked_by="ada")
    assert "being changed by ada" in lines
    assert "  moto        pid 11      http://127.0.0.1:1" in lines
    assert "  container   pid 12      main/i-7, ready" in lines
    assert lines[1].startswith("costs nothing here; on AWS")


def test_a_plan_shows_of_a_long_environment_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    # given an environment of which all but the last setting is as it was
    old, new = ({"GPUPIPE_FUNCTION": json.dumps({"bucket": "b" * 300, "max_receives": most})} for most in (4, 7))
    function = Thing(stack=STACK, name="demo-dev-segment-dispatch", pipeline="segment")
    step = Step(action=Action.UPDATE, resource=function, changes=(Change("environment", old, new),))
    # when
    show_plan(Screen(), Plan(steps=(step,)))
    # then
    told = capsys.readouterr().out
    assert "environment.GPUPIPE_FUNCTION.max_receives: 4 -> 7" in told
    assert "bbb" not in told
