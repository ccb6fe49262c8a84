"""Kinds that are no product of ours, from `init` to `down`: installed beside gpupipe, and known to it by that alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Person, eventually, standing
from tests.toy_kinds import python_path
from tests.toy_tasks import add_toys

JPEG = b"\xff\xd8\xff\xe0 "
"""`submit` looks at the beginning of what is called .jpg, the toys at the rest."""


class Installer(Person):
    """Somebody with a package of kinds installed: each command is a process of its own, which finds it."""

    types = Person.runs


@contextlib.contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, task: str) -> Iterator[Person]:
    """Whose stack has one pipeline of that kind, as `init` writes it, but with a guard that looks more often."""
    monkeypatch.setenv("PYTHONPATH", python_path(os.environ.get("PYTHONPATH")))
    person = Installer(folder=folder)
    person.types("init", "--kind", kind, "--name", "toys")
    file = folder / "gpupipe.toml"
    text = file.read_text("utf-8").replace("# guard_interval_s = 60.0", "guard_interval_s = 2")
    file.write_text(text.replace('task = "segment"', f'task = "{task}"'), "utf-8")
    with standing(person):
        assert person.types("plan", "--json").document["changes"] == 0
        yield person


def photographs(folder: Path, **contents: str) -> Path:
    """A folder of what begins as photographs do."""
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_bytes(JPEG + content.encode())
    return folder


def results_in(folder: Path) -> dict[str, dict[str, Any]]:
    """The merged results, by input."""
    lines = map(json.loads, (folder / "results.jsonl").read_text("utf-8").splitlines())
    return {line["file_name"]: line for line in lines}


def check_watched_fetched_and_retried(person: Person, job: str, *, items: int) -> dict[str, dict[str, Any]]:
    """A job of which one item fails the first time, from its begin to its last result; the results."""
    watched = person.types("watch", job, "--json", code=3).document
    assert (watched["state"], watched["done"], watched["failed"]) == ("finished", items - 1, 1)
    fetched = person.types("fetch", job, "-o", "out", "--json", code=3).document
    assert (fetched["done"], fetched["failed_by"], fetched["is_complete"]) == (items - 1, {"busy": 1}, True)
    assert len(results_in(person.folder / "out")) == items - 1

    assert person.types("retry", job, "--failed", "--json").document["items"] == 1
    watched = person.types("watch", job, "--json").document
    assert (watched["generation"], watched["done"], watched["failed"]) == (1, items, 0)
    fetched = person.types("fetch", job, "-o", "out", "--json").document
    assert (fetched["done"], fetched["failed"], fetched["files_kept"]) == (items, 0, items - 1)
    return results_in(person.folder / "out")


def check_held_and_cancelled(person: Person, inputs: str) -> None:
    """A job that never begins, and the stack after it."""
    held = person.types("submit", inputs, "--project", "held", "--hold", "--json").document
    eventually("dispatch holds it", lambda: [one["state"] for one in person.jobs("held")] == ["held"])
    cancelled = person.types("cancel", held["job"], "--json").document
    assert (cancelled["items_done"], cancelled["items_cancelled"]) == (0, held["items"])
    status = person.types("status", "--json").document
    assert (status["is_deployed"], status["jobs_open"], status["running"]) == (True, 0, [])
    assert {one["state"] for one in status["resources"]} == {"present"}


def events_of(person: Person, job: str) -> dict[str, set[str]]:
    """What was logged about a job, by who did it."""
    events: dict[str, set[str]] = {}
    for line in person.types("logs", "--job", job, "--json").document:
        events.setdefault(line["source"], set()).add(line["event"])
    return events


def test_a_kind_that_pushes_and_has_no_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given images in two shards, one of which asks to be tried again
    folder = photographs(tmp_path / "in", one="1", two="22", three="333", four="4444", five="55555", busy="try again")
    with installed(tmp_path, monkeypatch, "pushed", task="segment") as person:
        # When they are submitted
        job = person.types("submit", str(folder), "--project", "sums", "--json").document["job"]

        # Then all of them are done in the end, none is lost, and the log tells how
        results = check_watched_fetched_and_retried(person, job, items=6)
        assert {name: one["bytes"] for name, one in results.items()} == {
            path.name: path.stat().st_size for path in folder.iterdir()
        }
        assert events_of(person, job)["work"] == {"commit_counted", "shard_done"}
        check_held_and_cancelled(person, str(folder))


@pytest.mark.exhaustive
def test_a_kind_that_executes_stages_and_is_called_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given values in two shards, one of which asks to be tried again and one of which breaks its execution once
    add_toys(monkeypatch)
    lines = tmp_path / "values.jsonl"
    asked = {"red": "a red fox", "owl": "an owl", "hen": "hen", "late": "try again", "bad": "break the stage"}
    values = [{"name": name, "prompt": prompt} for name, prompt in asked.items()]
    lines.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    with installed(tmp_path, monkeypatch, "staged", task="upper-all") as person:
        # When they are submitted
        job = person.types("submit", str(lines), "--project", "words", "--json").document["job"]

        # Then all of them are done in the end, none is lost, and the log tells how
        results = check_watched_fetched_and_retried(person, job, items=5)
        assert {name: one["value"]["prompt"] for name, one in results.items()} == asked
        events = events_of(person, job)
        assert events["prepare"] == {"shard_prepared"}
        assert events["finish"] == {"shard_finished", "stage_failed"}
        assert {"shard_committed", "shard_returned"} <= events["callback"]
        check_held_and_cancelled(person, str(lines))
