"""The page of a job of values: each value is shown where an image would be, cut, and never interpreted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.test_report import ABOUT, COMMIT, Page, summary_of, written
from tests.toy_tasks import add_toys

from gpupipe.jobs.report.words import BRIEF_CHARACTERS, WHOLE_CHARACTERS, brief, whole
from gpupipe.jobs.results import Outcome
from gpuworker.contract import Failure, Item, ItemResult

WORDS = replace(ABOUT, task="upper", options={"ending": ""}, notice="")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    add_toys(monkeypatch)


def an_item(value: dict[str, Any], name: str = "item-00001") -> Item:
    return Item.inline(project="animals", name=name, value=value)


def a_result(item: Item, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {"fragment": {"text": "FOX"}, "artifacts": {}, **changes}
    result = ItemResult(output=item.output, key=item.key, etag=item.etag, value=item.value, **fields)
    return Outcome(commit=replace(COMMIT, header={"info": {}}), result=result)


def a_failure(item: Item) -> Outcome:
    return Outcome(commit=COMMIT, failure=Failure.of(item, code="unsuitable", message="it has no prompt"))


def page_of(tmp_path: Path, *outcomes: Outcome) -> str:
    text, _ = written(tmp_path, outcomes, about=WORDS)
    return text


def test_a_value_and_what_came_of_it_are_shown(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, a_result(an_item({"prompt": "a red fox", "seed": 7}))))
    assert "a red fox · seed: 7" in page.text
    assert '"seed": 7' in page.text
    assert '"text": "FOX"' in page.text
    assert "item-00001" in page.text
    assert "no thumbnail" not in page.text
    [card] = [attributes for attributes in page.all("li") if "data-words" in attributes]
    assert card["data-words"] == "a red fox · seed: 7"


def test_a_failed_value_is_shown_with_what_to_do_about_it(tmp_path: Path) -> None:
    text = " ".join(Page(page_of(tmp_path, a_failure(an_item({"seed": 8}, "owl")))).text.split())
    assert '{"seed": 8}' in text
    assert "owl" in text
    assert "Change the value, or submit it with other options" in text
    assert "1 failed item" in page_of(tmp_path, a_failure(an_item({"seed": 8}, "owl")))


def test_nothing_is_called_an_image(tmp_path: Path) -> None:
    text = Page(page_of(tmp_path, a_result(an_item({"prompt": "a"})), a_failure(an_item({}, "b")))).text
    assert "image" not in text.lower()
    assert "items done" in text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "{{ 7 * 7 }}"])
def test_what_a_value_says_is_shown_and_never_interpreted(tmp_path: Path, hostile: str) -> None:
    value = {"prompt": hostile, hostile: [hostile]}
    text = page_of(tmp_path, a_result(an_item(value), fragment={"text": hostile}), a_failure(an_item(value, "b")))
    assert "<script>alert" not in text
    assert "onerror=alert(1)>" not in text.replace("&gt;", "")
    assert len(Page(text).all("script")) == 1
    assert hostile in Page(text).text


def test_a_long_value_is_cut_and_says_by_how_much(tmp_path: Path) -> None:
    text = page_of(tmp_path, a_result(an_item({"prompt": "x" * 60_000})))
    assert len(text) < 60_000
    assert f"(and {60_000 - BRIEF_CHARACTERS:,} characters more)" in text


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"prompt": "a\n  b\tc"}, "a b c"),
        ({"prompt": "a", "size": [1, 2], "name": "n"}, "a · size: [1, 2] · name: n"),
        ({"prompt": 7}, '{"prompt": 7}'),
        ({"prompt": "a\u202eb\x00"}, "a\\u202eb\\x00"),
        ({}, "{}"),
        ({"context": {"step": "ü"}}, '{"context": {"step": "ü"}}'),
    ],
)
def test_a_value_in_a_line(value: dict[str, Any], line: str) -> None:
    assert brief(value) == line


def test_a_value_on_lines_is_json_as_far_as_it_goes() -> None:
    assert whole({"a": "ü", "b": [1]}) == '{\n  "a": "ü",\n  "b": [\n    1\n  ]\n}'
    assert len(whole({"a": "x" * 60_000})) < WHOLE_CHARACTERS + 50


def test_memory_holds_what_is_shown_only() -> None:
    summary = summary_of([a_result(an_item({"prompt": "x" * 60_000}, f"v{number}")) for number in range(40)])
    assert sum(len(card.details) + len(card.value or "") for card in summary.gallery()) < 40 * 5_000
