"""Waiting ends: when it is so, or with words."""

from __future__ import annotations

import threading

import pytest
from tests.resources.contract import Stacks
from tests.ticking import TickingClock

from gpupipe.aws import Aws
from gpupipe.errors import AwsError
from gpupipe.plan.steps import Action, Step
from gpupipe.plan.work import work_of
from gpupipe.resources.topic import Topic
from gpupipe.resources.waiting import tell, telling, until


def test_it_returns_as_soon_as_it_is_so() -> None:
    looks = iter([False, False, True])

    clock = TickingClock()

    until(lambda: next(looks), clock=clock, what="the lamp: on", within_s=5)

    assert list(looks) == []
    assert len(clock.pauses) == 2


def test_it_gives_up_with_words() -> None:
    with pytest.raises(AwsError, match=r"the lamp: on is still not so after 90 s"):
        until(lambda: False, clock=TickingClock(), what="the lamp: on", within_s=90)


def test_what_is_told_is_heard_in_its_own_thread_only() -> None:
    heard: list[str] = []

    tell("before")
    with telling(heard.append):
        tell("within")
        other = threading.Thread(target=tell, args=("elsewhere",))
        other.start()
        other.join(5)
    tell("after")

    assert heard == ["within"]


def test_the_plan_hears_what_a_kind_tells(stacks: Stacks) -> None:
    """As a step's progress, whatever its action is."""
    heard: list[str] = []

    class Telling(Topic):
        def create(self, aws: Aws) -> None:
            tell("still waiting")

    step = Step(action=Action.CREATE, resource=Telling(stack=stacks.mine, name="demo-dev-topic"))
    work_of(step, Aws(stack=stacks.mine))(heard.append)

    assert heard == ["still waiting"]
