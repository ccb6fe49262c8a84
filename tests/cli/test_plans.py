"""Plans in words."""

from __future__ import annotations

import json

import pytest
from tests.pipelines.settings import STACK
from tests.plan.things import Thing

from gpupipe.cli.plans import show_plan
from gpupipe.cli.screen import Screen
from gpupipe.plan import Action, Change, Plan, Step


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
