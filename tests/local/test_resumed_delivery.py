"""What functions held that died with ministack is handed out again at once, and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.local.clients import client_of
from tests.local.functions import deploy
from tests.local.waiting import kill, until

from gpupipe.local import emulators, processes
from gpupipe.local.emulators import Account
from gpupipe.local.resumed_delivery import show_again

NOW = 1_000.0
HELD_S = 600


def message(**state: Any) -> dict[str, Any]:
    return {"visible_at": NOW + HELD_S, "receive_count": 1, **state}


def test_only_what_functions_held_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from ministack.services import lambda_svc, sqs

    # given a queue that calls a function, and one of workers
    held, delayed, seen = message(), message(receive_count=0), message(visible_at=NOW - 5)
    of_worker = message()
    queues = {"events": [held, delayed, seen], "work": [of_worker]}
    for name, messages in queues.items():
        key = ("1" * 12, "us-east-1", name)
        monkeypatch.setitem(sqs._queues._data, key, {"attributes": {"QueueArn": name}, "messages": messages})
    mapping = {"UUID": "u", "EventSourceArn": "events"}
    monkeypatch.setitem(lambda_svc._esms._data, ("1" * 12, "us-east-1", "u"), mapping)
    # when ministack begins
    show_again(NOW)
    # then what the function held is there again; what was only sent to come later does so
    assert held["visible_at"] == NOW
    assert seen["visible_at"] == NOW - 5
    assert (delayed["visible_at"], of_worker["visible_at"]) == (NOW + HELD_S, NOW + HELD_S)


SLOW = """
import time
def handler(event, context):
    print("BEGUN", flush=True)
    time.sleep(20)
"""


@pytest.mark.exhaustive
def test_a_message_of_a_killed_function_comes_again_within_seconds(tmp_path: Path) -> None:
    account = Account.new("us-east-1")
    ports: dict[str, int] = {"moto": 1}
    port, process = emulators.start("ministack", tmp_path, account=account, ports=ports)
    try:
        emulators.wait_ready("ministack", tmp_path, process=process, port=port)
        client = partial(client_of, account, {"default": f"http://127.0.0.1:{port}"})
        # given a function at work on a message that nobody else gets for ten minutes
        sqs = client("sqs")
        url = sqs.create_queue(QueueName="slow", Attributes={"VisibilityTimeout": str(HELD_S)})["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:{account.account_id}:slow"
        deploy(client, account.account_id, "slow", SLOW)
        client("lambda").create_event_source_mapping(EventSourceArn=arn, FunctionName="slow", BatchSize=1)
        sqs.send_message(QueueUrl=url, MessageBody="work")
        saved = tmp_path / "ministack/state/sqs.json"
        until(lambda: saved.exists() and '"receive_count": 1' in saved.read_text())
        # when ministack is killed, and started again
        kill(process.pid)
        processes.end_left_behind(process)
        port, process = emulators.start("ministack", tmp_path, account=account, ports=ports, wanted_port=port)
        emulators.wait_ready("ministack", tmp_path, process=process, port=port)
        # then the function is given it again, long before those ten minutes are over (each request has it saved)
        until(lambda: sqs.list_queues() and '"receive_count": 2' in saved.read_text(), within_s=60)
    finally:
        processes.end(process, grace_s=5.0)
