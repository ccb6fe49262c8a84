"""The functions as Lambda calls them: settings from the environment, answers in the form that it expects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.functions.conftest import World, made

from gpupipe.functions import callback, dispatch, forward, guard
from gpupipe.functions.settings import VARIABLE
from gpupipe.functions.surroundings import surroundings


@dataclass
class Context:
    """What Lambda tells a function of its invocation."""

    aws_request_id: str = "request-1"
    left_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@pytest.fixture
def deployed(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv(VARIABLE, world.around.settings.to_json())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    surroundings.cache_clear()
    yield world
    surroundings.cache_clear()


def test_dispatch_names_the_messages_that_failed(deployed: World, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.put_job({0: 3})
    broken = {"messageId": "broken", "body": '{"Records": [{}]}'}
    answer = dispatch.handler({"Records": [made("jobs/j1/manifest.json"), broken]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    assert [message.number for message in deployed.sent()] == [0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"job_dispatched", "message_not_understood", "guard_not_woken"} == {line["event"] for line in lines}
    assert all(line["at"].endswith("Z") and line["level"] in ("info", "warning", "error") for line in lines)


def test_dispatch_without_time_gives_everything_back(deployed: World) -> None:
    answer = dispatch.handler({"Records": [made("jobs/j1/manifest.json", "m1")]}, Context(left_ms=1000))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}


def test_dispatch_of_nothing(deployed: World) -> None:
    assert dispatch.handler({}, Context()) == {"batchItemFailures": []}


def test_the_guards_answer_is_its_status_and_plain_json(deployed: World) -> None:
    status = guard.handler({}, Context())
    assert json.loads(json.dumps(status)) == status
    assert deployed.ledger.guard_status("segment") == status
    assert deployed.ledger.acquire_lease("segment", "another", 1) is True


def test_forward_names_the_message_that_is_to_come_again(deployed: World) -> None:
    about = {"receiptHandle": "r", "attributes": {"ApproximateReceiveCount": "1"}}
    answer = forward.handler({"Records": [{"messageId": "m1", "body": "no message", **about}]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert forward.handler({}, Context()) == {"batchItemFailures": []}


def test_callback_leaves_what_is_not_ours(deployed: World, capsys: pytest.CaptureFixture[str]) -> None:
    callback.handler({"Records": [{"Sns": {"MessageId": "n1", "Message": "hello"}}]}, Context())
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "foreign_request_failed"


def test_a_function_loads_nothing_that_does_not_ship_with_it() -> None:
    code = (
        "from gpupipe.functions import callback, dispatch, forward, guard\nimport sys\n"
        "ours = {n for n in sys.modules if n.startswith(('gpupipe', 'gpuworker'))}\n"
        "shipped = ('gpupipe.functions', 'gpuworker.ledger', 'gpuworker.contract')\n"
        "print(sorted(n for n in ours if '.' in n and not n.startswith(shipped)))\n"
        "print([n for n in ('pydantic', 'typer', 'rich', 'obstore', 'numpy') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
