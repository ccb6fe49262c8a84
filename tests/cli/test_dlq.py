"""`dlq` typed as commands, with real dead letters in the emulators' queues."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.cli.conftest import Types
from tests.jobs.crew import Crew
from tests.jobs.desk import PIPELINE, a_desk, a_photo
from tests.jobs.test_dlq import REASON, let_die, spread

from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.submit import submit
from gpupipe.local.emulators import Emulators
from gpuworker.contract import Message
from gpuworker.ledger import ShardState

_numbers = itertools.count(1)
CONFIG = """
[stack]
name = "{name}"
target = "aws"
[pipelines.segment]
kind = "queue"
task = "segment"
"""


@pytest.fixture
def crew(emulated: Emulators, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Somebody in a folder whose account is the emulators', with a job of three shards."""
    name = f"typed{next(_numbers)}"
    desk = a_desk(emulated, name)
    desk.sqs.create_queue(QueueName=desk.ctx.aws.stack.undelivered_queue(PIPELINE))
    (folder / "gpupipe.toml").write_text(CONFIG.format(name=name))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", emulated.account.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", emulated.account.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulated.endpoints["default"])
    return Crew(desk=desk)


@pytest.fixture
def job(crew: Crew, tmp_path: Path) -> str:
    """Its three shards have died, each with its message."""
    for name in "abc":
        a_photo(tmp_path / "images" / f"{name}.jpg")
    job = submit(crew.desk.ctx, [str(tmp_path / "images")], project="field7").job
    spread(crew.desk, job)
    announce_manifest(crew.desk.ctx, job)
    crew.dispatch()
    let_die(crew, job, 0, 1, 2)
    return job


def test_dead_letters_are_shown_and_sent_again(types: Types, crew: Crew, job: str) -> None:
    shown = types("dlq", "list")
    assert (shown.code, shown.out.count(REASON)) == (0, 3)
    assert f"shard 0 of {job}" in shown.out
    assert "`gpupipe dlq redrive` sends them again" in shown.out
    listed = types("dlq", "list", "--json").document
    assert {(one["job"], one["number"], one["state"], one["has_message"]) for one in listed} == {
        (job, number, "dead", True) for number in range(3)
    }
    # when they are sent again, workers find them
    assert types("dlq", "redrive", "--json").document == {"redriven": 3}
    assert crew.sent() == [Message(job=job, number=number, generation=0) for number in range(3)]
    assert {row.state for row in crew.ledger.shards(job)} == {ShardState.PENDING}
    # and there is nothing left to say
    assert "No dead letter" in types("dlq", "list").out
    assert "nothing to send again" in types("dlq", "redrive").out


def test_dead_letters_are_forgotten_only_by_who_agrees(types: Types, crew: Crew, job: str) -> None:
    asked = types("dlq", "purge")
    assert asked.code == 2
    assert f"Forget all dead letters of pipeline {PIPELINE}?" in asked.err
    assert len(types("dlq", "list", "--json").document) == 3
    # when somebody agrees, the messages are gone, and the ledger remembers their shards
    assert types("dlq", "purge", "--yes").out == "3 dead letters forgotten.\n"
    assert {one["has_message"] for one in types("dlq", "list", "--json").document} == {False}
    assert types("dlq", "purge", "--yes", "--json").document == {"purged": 0}
    assert (crew.totals(job).dead, crew.sent()) == (3, [])
