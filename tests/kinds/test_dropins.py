"""What the functions of each kind are told of drop-ins, and that it fits."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kinds.settings import config, only, wanted

from gpupipe.desired import dropin_notes
from gpupipe.functions.settings import VARIABLE, FunctionSettings
from gpupipe.kinds.registry import KINDS
from gpupipe.resources.function import Function

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))
PROMPTS = {"prompts": ["car", "dog"]}


def environment(**settings: Any) -> dict[str, str]:
    return dict(only(wanted(**settings), Function, "-dispatch").environment)


def settings_of_dispatch(**settings: Any) -> FunctionSettings:
    return FunctionSettings.from_json(environment(**settings)[VARIABLE])


@every_kind
def test_dispatch_is_told_what_differs_and_knows_the_whole(kind: str) -> None:
    own = {"prompts": ["dog"], "masks": "none"}
    settings = settings_of_dispatch(kind=kind, task_options=own, dropins={"field*": {"prompts": ["cars"]}, "yard": {}})
    assert settings.dropin_options == {"field*": {"prompts": ["car"]}, "yard": {}}
    assert settings.options_of_dropins("field7") == {**settings.task_options, "prompts": ["car"]}
    assert settings.options_of_dropins("yard") == settings.options_of_dropins("other") == settings.task_options


@every_kind
def test_the_order_of_the_tables_changes_nothing(kind: str) -> None:
    tables = {"field*": PROMPTS, "yard": {}}
    assert environment(kind=kind, dropins=tables) == environment(kind=kind, dropins=dict(reversed(tables.items())))


@pytest.mark.parametrize(("kind", "mode"), [("queue", {}), ("endpoint", {}), ("endpoint", {"mode": "realtime"})])
def test_a_shard_holds_as_many_as_are_done_in_time(kind: str, mode: dict[str, str]) -> None:
    model = {"weights": "/weights"}
    slow = {"engine": "sam3", "prompts": [f"kind {number}" for number in range(30)]}
    settings = settings_of_dispatch(kind=kind, model=model, dropins={"slow*": slow, "field*": PROMPTS}, **mode)
    as_usual = settings_of_dispatch(kind=kind, model=model, task_options=slow, **mode)
    assert settings.items_of_dropins("slow1") == as_usual.shard_items
    assert settings.items_of_dropins("field7") == settings.items_of_dropins("other") == settings.shard_items
    assert (as_usual.shard_items < settings.shard_items) is not bool(mode)


def test_what_an_invocation_has_no_time_for_is_refused() -> None:
    slow = {"engine": "sam3", "prompts": [f"kind {number}" for number in range(600)]}
    with pytest.raises(ValueError, match=r'invocation_timeout_s: an item of drop-ins of "slow\*" takes about'):
        config("rooms", kind="endpoint", model={"weights": "/w"}, mode="realtime", dropins={"slow*": slow})


@every_kind
def test_many_patterns_fit_since_what_they_share_is_told_once(kind: str) -> None:
    settings = settings_of_dispatch(kind=kind, dropins={f"site{number}-*": PROMPTS for number in range(30)})
    assert settings.options_of_dropins("site7-east")["prompts"] == PROMPTS["prompts"]


# --- the plan's words ---


@every_kind
def test_a_plan_says_what_is_asked_of_drop_ins(kind: str) -> None:
    tables = {"field*": {**PROMPTS, "score_threshold": 0.25}, "yard": {}}
    assert dropin_notes(config(kind=kind, dropins=tables)) == (
        'segment: drop-ins of "field*" are done with prompts = ["car", "dog"], score_threshold = 0.25.',
        "segment: drop-ins of yard are done with the pipeline's task_options.",
        "A drop-in job that is open keeps the options it was opened with.",
    )
    assert dropin_notes(config(kind=kind)) == ()
