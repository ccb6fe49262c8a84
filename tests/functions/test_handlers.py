"""The functions as Lambda calls them: settings from the environment, answers in the form that it expects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.functions.conftest import World, made
from tests.functions.hosted import realtime

from gpupipe.functions.settings import VARIABLE
from gpupipe.kinds.endpoint.backend import handlers as endpoint
from gpupipe.kinds.queue.backend import handlers as queue


@dataclass
class Invocation:
    """What Lambda tells a function of its invocation."""

    aws_request_id: str = "request-1"
    left_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@pytest.fixture
def deployed(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv(VARIABLE, world.ctx.settings.to_json())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    yield world
    for one in (queue, endpoint):
        vars(one.WORKINGS).pop("context", None)  # as if the next invocation were another process's


@pytest.fixture
def realtime_deployed(deployed: World, monkeypatch: pytest.MonkeyPatch) -> World:
    told = realtime(deployed)[0].ctx.settings
    monkeypatch.setenv(VARIABLE, told.to_json())
    return deployed


def test_dispatch_names_the_messages_that_failed(deployed: World, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.put_job({0: 3})
    broken = {"messageId": "broken", "body": '{"Records": [{}]}'}
    answer = queue.dispatch({"Records": [made("jobs/j1/manifest.json"), broken]}, Invocation())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    assert [message.number for message in deployed.sent()] == [0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"job_dispatched", "message_not_understood", "guard_not_woken"} == {line["event"] for line in lines}
    assert all(line["at"].endswith("Z") and line["level"] in ("info", "warning", "error") for line in lines)


def test_dispatch_without_time_gives_everything_back(deployed: World) -> None:
    answer = queue.dispatch({"Records": [made("jobs/j1/manifest.json", "m1")]}, Invocation(left_ms=1000))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


def test_dispatch_of_nothing(deployed: World) -> None:
    assert queue.dispatch({}, Invocation()) == {"batchItemFailures": []}


def test_the_guards_answer_is_its_status_and_plain_json(deployed: World) -> None:
    status = queue.guard({}, Invocation())
    assert json.loads(json.dumps(status)) == status
    assert deployed.ledger.guard_status("segment") == status
    assert deployed.ledger.acquire_lease("segment", "another", 1) is True


def test_forward_names_the_message_that_is_to_come_again(realtime_deployed: World) -> None:
    about = {"receiptHandle": "r", "attributes": {"ApproximateReceiveCount": "1"}}
    answer = endpoint.forward({"Records": [{"messageId": "m1", "body": "no message", **about}]}, Invocation())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert endpoint.forward({}, Invocation()) == {"batchItemFailures": []}


def test_callback_leaves_what_is_not_ours(realtime_deployed: World, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.callback({"Records": [{"Sns": {"MessageId": "n1", "Message": "hello"}}]}, Invocation())
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "foreign_request_failed"


def test_settings_of_the_version_before_are_understood_as_far_as_they_are_known(
    deployed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {**json.loads(deployed.ctx.settings.to_json()), "mode": "", "endpoint": "", "variants": {}}
    monkeypatch.setenv(VARIABLE, json.dumps(before))
    assert queue.WORKINGS.context.settings.to_json() == deployed.ctx.settings.to_json()
