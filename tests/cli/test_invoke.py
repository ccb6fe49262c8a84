"""`invoke` on the screen: what it waits for, and what the model found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Types
from tests.jobs.desk import a_photo
from tests.jobs.runtime import Runtime, Told, model_error, serving

from gpupipe.cli.invoke import SAY_EVERY_S, show, telling
from gpupipe.cli.screen import Screen
from gpupipe.jobs.endpoints import EndpointState
from gpupipe.jobs.invoke import Answer, InvokeProgress
from gpupipe.local.emulators import Emulators

ROOMS: dict[str, Any] = {
    "status": "success",
    "room_count": 2,
    "rooms": [
        {"label": "KITCHEN", "area": 51234.5, "bbox": [10, 20, 300, 200], "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]},
        {"label": None, "area": 2000, "bbox": [400, 20, 50, 40], "polygon": [[0, 0], [1, 0], [1, 1]]},
    ],
}


def an_answer(result: Any = ROOMS, *, body: bytes | None = None, variant: str = "main") -> Answer:
    return Answer(
        pipeline="rooms",
        image="plan.png",
        mode="realtime",
        variant=variant,
        seconds=0.456,
        inference_id="invoke-1",
        content_type="application/json",
        body=json.dumps(result).encode() if body is None else body,
    )


def shown(capsys: pytest.CaptureFixture[str], answer: Answer, out: Path | None = None) -> str:
    show(Screen(), answer, out)
    return capsys.readouterr().out


def test_rooms_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, an_answer()).splitlines()
    assert lines[0].split() == ["room", "label", "area", "x", "y", "width", "height", "corners"]
    assert lines[2].split() == ["1", "KITCHEN", "51,234", "10", "20", "300", "200", "4"]
    assert lines[3].split() == ["2", "2,000", "400", "20", "50", "40", "3"]
    assert lines[-1] == "plan.png: 2 rooms, in 0.46 s by variant main"


def test_without_any_label_there_is_no_column_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    unnamed = {"rooms": [{name: value for name, value in room.items() if name != "label"} for room in ROOMS["rooms"]]}
    lines = shown(capsys, an_answer(unnamed)).splitlines()
    assert lines[0].split() == ["room", "area", "x", "y", "width", "height", "corners"]
    assert lines[2].split() == ["1", "51,234", "10", "20", "300", "200", "4"]


def test_no_room_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, an_answer({"rooms": []}, variant="")) == "plan.png: 0 rooms, in 0.46 s\n"


NONE: dict[str, Any] = {
    "rooms": [],
    "reason_code": "no_ink",
    "reason": "There is no ink.",
    "hint": "Set polarity=light.",
}


def test_why_there_is_no_room_is_said_with_what_to_try(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = shown(capsys, an_answer(NONE))
    assert told.splitlines()[-2:] == ["There is no ink.", "Set polarity=light."]
    assert "There is no ink.\nSet polarity=light.\n" in shown(capsys, an_answer(NONE), tmp_path / "answer.json")


def test_coco_without_rooms_says_why_too(capsys: pytest.CaptureFixture[str]) -> None:
    image = {"id": 1, "reason": NONE["reason"], "hint": NONE["hint"]}
    told = shown(capsys, an_answer({"images": [image], "annotations": []}))
    assert told.splitlines()[-2:] == ["There is no ink.", "Set polarity=light."]


def test_anything_else_is_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, an_answer({"annotations": [1, 2]}))
    assert json.loads(told[: told.rindex("}") + 1]) == {"annotations": [1, 2]}
    assert told.endswith("plan.png: 2 annotations, in 0.46 s by variant main\n")


def test_bytes_are_not_poured_over_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = an_answer(body=b"\x89PNG\r\n")
    assert "-o FILE keeps them" in shown(capsys, picture)
    out = tmp_path / "answer.png"
    assert f"written to {out}" in shown(capsys, picture, out)
    assert out.read_bytes() == b"\x89PNG\r\n"


def test_programs_get_one_document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "has_answered", False)
    show(Screen(as_json=True), an_answer(), None)
    document = json.loads(capsys.readouterr().out)
    assert document["result"] == ROOMS
    assert (document["variant"], document["seconds"], document["file"]) == ("main", 0.456, None)


def waiting(waited_s: float, **about: Any) -> InvokeProgress:
    is_paused = about.pop("is_paused", False)
    endpoint = EndpointState(**{"status": "InService", **about})
    return InvokeProgress(step="wait", waited_s=waited_s, endpoint=endpoint, is_paused=is_paused)


def test_why_it_takes_so_long_is_told_when_it_changes_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(Screen()) as tell:
        tell(InvokeProgress(step="upload"))
        tell(waiting(0))
        tell(waiting(10))
        tell(waiting(1 + SAY_EVERY_S))
        tell(waiting(40, current=1, desired=1))
        tell(waiting(50, status="Updating", current=2))
        tell(waiting(60, status="Creating"))
        tell(waiting(70, is_paused=True))
    assert capsys.readouterr().err.splitlines() == [
        "waiting: no instance runs; from zero it takes a few minutes until one answers",
        "waiting: no instance runs; from zero it takes a few minutes until one answers; 31 s so far",
        "waiting: 1 instance at work; 40 s so far",
        "waiting: 2 instances at work; 50 s so far",
        "waiting: the endpoint is Creating; 60 s so far",
        "waiting: the pipeline is stopped, and `gpupipe start` lets it go on; 70 s so far",
    ]


def test_nothing_is_said_of_a_short_wait_for_an_instance_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(Screen()) as tell:
        tell(waiting(0, current=1))
        tell(waiting(10, current=1))
    assert capsys.readouterr().err == ""


CONFIG = """
[stack]
name = "typed"
target = "aws"
[pipelines.photos]
kind = "queue"
task = "segment"
[pipelines.rooms]
kind = "endpoint"
task = "detect-rooms"
mode = "realtime"
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/rooms:1"
"""


@pytest.fixture
def runtime(folder: Path, emulated: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """Somebody in a folder with two pipelines, whose account is the emulators'."""
    (folder / "gpupipe.toml").write_text(CONFIG)
    a_photo(folder / "plan.jpg")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", emulated.account.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", emulated.account.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulated.endpoints["default"])
    with serving() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", running.url)
        yield running


def test_the_only_endpoint_answers(types: Types, runtime: Runtime) -> None:
    headers = {"x-Amzn-Invoked-Production-Variant": "main"}
    runtime.answers = lambda asked: Told(body=json.dumps(ROOMS).encode(), headers=headers)
    shown = types("invoke", "plan.jpg")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[-1].startswith("plan.jpg: 2 rooms, in ")
    document = types("invoke", "plan.jpg", "--pipeline", "rooms", "--json", "-o", "answer.json").document
    assert (document["pipeline"], document["variant"], document["result"]) == ("rooms", "main", ROOMS)
    assert json.loads(Path("answer.json").read_text()) == ROOMS


def test_a_refusal_is_told_in_plain_words(types: Types, runtime: Runtime) -> None:
    body = json.dumps({"error": {"code": "truncated", "message": "the JPEG ends early"}})
    runtime.answers = lambda asked: model_error(400, body)
    shown = types("invoke", "plan.jpg")
    assert (shown.code, shown.out) == (1, "")
    assert "plan.jpg: the JPEG ends early (truncated)." in shown.err
    assert "copy it from its source again" in shown.err
    told = types("invoke", "plan.jpg", "--json").document["error"]
    assert told["type"] == "InvocationError"


@pytest.mark.parametrize(("out", "why"), [(".", "is a folder"), ("no/such/answer.json", "there is no folder no/such")])
def test_where_an_answer_cannot_be_kept_none_is_asked_for(types: Types, runtime: Runtime, out: str, why: str) -> None:
    shown = types("invoke", "plan.jpg", "-o", out)
    assert (shown.code, runtime.asked) == (2, [])
    assert why in shown.err


def test_a_queue_has_nobody_to_ask(types: Types, runtime: Runtime) -> None:
    shown = types("invoke", "plan.jpg", "--pipeline", "photos")
    assert shown.code == 2
    assert "gpupipe run IMAGE --project NAME --pipeline photos" in shown.err
    assert "`--pipeline rooms` has one" in shown.err
    assert runtime.asked == []


def test_an_image_is_needed(types: Types) -> None:
    assert types("invoke").code == 2
    assert types("invoke", "plan.png", "--accept", "xml").code == 2
