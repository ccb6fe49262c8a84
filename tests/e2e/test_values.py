"""Values from a person's JSON to results, on a local target whose pipeline has a toy task: no image is anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Person, settle, standing
from tests.toy_tasks import add_toys

WORDS = """
        [pipelines.words]
        kind = "queue"
        task = "upper"
"""


@pytest.fixture
def writer(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Somebody whose stack has one pipeline, of the task `upper`."""
    add_toys(monkeypatch)
    with standing(settle(tmp_path_factory.mktemp("words"), name="words", pipelines=WORDS)) as person:
        yield person


def test_values_are_submitted_watched_fetched_and_retried(writer: Person) -> None:
    # given two values that will do, one of which says its name, and one that fails until there is a file
    needed, lines = writer.folder / "needed", writer.folder / "words.jsonl"
    late = {"prompt": "late", "needs": str(needed)}
    values = ["a red fox", {"name": "größe", "prompt": "straße <b>", "seed": 7}, late]
    lines.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    # when
    job = writer.types("submit", str(lines), "--project", "animals", "--json").document
    watched = writer.types("watch", job["job"], code=3)
    report = writer.types("fetch", job["job"], "-o", "first", "--json", code=3).document
    # then
    assert (job["items"], job["bytes"] > 0) == (3, True)
    assert "3 of 3 items, 1 FAILED" in watched.out
    assert (report["done"], report["failed"], report["merged"]) == (2, 1, "first/results.jsonl")
    results = [json.loads(line) for line in (writer.folder / "first/results.jsonl").read_text("utf-8").splitlines()]
    assert results == [
        {"file_name": "größe", "output": "größe", "text": "STRASSE <B>", "value": values[1]},
        {"file_name": "item-00001", "output": "item-00001", "text": "A RED FOX", "value": {"prompt": "a red fox"}},
    ]
    [failure] = json.loads((writer.folder / "first/failures.json").read_text("utf-8"))
    assert (failure["file_name"], failure["code"], failure["value"]) == ("item-00003", "unsuitable", late)
    record = json.loads((writer.folder / "first/items/größe/result.json").read_text("utf-8"))
    assert (record["text"], record["gpupipe"]["value"]) == ("STRASSE <B>", values[1])
    page = (writer.folder / "first/report.html").read_text("utf-8")
    assert "straße &lt;b&gt; · name: größe · seed: 7" in page
    assert "straße <b>" not in page
    # and when what was missing is there, the rest is done, and the same values are another job then
    needed.touch()
    assert "1 item in 1 shard sent again" in writer.types("retry", job["job"], "--failed").out
    assert writer.types("watch", job["job"], "--json").document["done"] == 3
    assert writer.types("fetch", job["job"], "-o", "first", "--json").document["done"] == 3
    again = writer.types("run", "-", "--project", "animals", "-o", "again", "--json", stdin='["an owl"]').document
    assert again["done"] == 1
    # and what is no value, or no input of this task, is refused before anything is sent
    refused = writer.types("submit", "-", "--project", "animals", "--json", code=2, stdin='"fine"\n{"seed": NaN}\n')
    assert "standard input, line 2 holds NaN" in refused.err
    refused = writer.types("submit", str(writer.folder), "--project", "animals", code=2)
    assert "task upper takes values (JSON), no files" in refused.err
    # and the project has all of them, also those that are called by their places only
    whole = writer.types("fetch", "--project", "animals", "-o", "all", "--json").document
    assert (whole["done"], whole["failed"]) == (4, 0)
    assert len([*(writer.folder / "all/items").iterdir()]) == 4
