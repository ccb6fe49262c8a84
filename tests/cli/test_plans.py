"""Plans in words."""

from __future__ import annotations

import json

import pytest
from tests.kinds.settings import STACK
from tests.plan.things import Thing

from gpupipe.cli.plans import applying, show_plan
from gpupipe.cli.screen import Screen
from gpupipe.plan import Action, Change, Event, Plan, Step


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


def test_a_notice_stays_to_be_read_and_gives_no_orders_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with applying(Screen(as_json=True)) as on_event:
        on_event(Event(kind="notice", text="ann\x1b[2J was killed; its lock is taken over."))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "ann\N{REPLACEMENT CHARACTER}[2J was killed; its lock is taken over.\n")
