"""Values of files, of standard input and of arguments: where they come from, what they are called, what is refused."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gpupipe.errors import InputError
from gpupipe.jobs.values import InlineValue, Values, is_value_source, read_values
from gpuworker.contract import VALUE_BYTES


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def read(*arguments: str | Path, texts: Sequence[str] = (), stdin: str = "") -> Values:
    return read_values([*map(str, arguments)], texts, stdin=io.BytesIO(stdin.encode()))


def named(values: Values) -> list[tuple[str, Any]]:
    return [(one.path, json.loads(one.text)) for one in values.files]


def refused(*arguments: str | Path, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(*arguments, **more)
    return str(caught.value)


def test_a_value_is_called_by_its_field_or_its_place(tmp_path: Path) -> None:
    # given
    file = tmp_path / "a.jsonl"
    file.write_text(lines("fox", {"name": "owl", "id": 1}, {"id": 7}, {"id": None, "name": None}))
    # when
    found = read(file, "-", texts=['{"id": "x y"}', '"cat"'], stdin='["dog"]')
    # then places count on from source to source
    assert named(found) == [
        ("item-00001", {"prompt": "fox"}),
        ("owl", {"id": 1, "name": "owl"}),
        ("7", {"id": 7}),
        ("item-00004", {"id": None, "name": None}),
        ("item-00005", {"prompt": "dog"}),
        ("x y", {"id": "x y"}),
        ("item-00007", {"prompt": "cat"}),
    ]
    assert [str(one).removeprefix(f"{tmp_path}/") for one in found.files[3:]] == [
        "a.jsonl, line 4",
        "standard input, line 1",
        "--value 1",
        "--value 2",
    ]


def test_a_name_is_composed_as_a_files_is() -> None:
    assert named(read(texts=['{"name": "u\u0308"}']))[0][0] == "ü"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "is a path"),
        ("..", "is a path"),
        ("", "is empty"),
        (" a", "begins or ends with a space"),
        ("a\u202eb", "cannot be printed"),
        ("\ud800", "cannot be printed"),
        ("x" * 201, "longer than 200 bytes"),
        ([1], "neither a text nor a whole number"),
        (True, "neither a text nor a whole number"),
        (1.5, "neither a text nor a whole number"),
    ],
)
@pytest.mark.parametrize("field", ["name", "id"])
def test_what_no_result_can_be_called_is_told(field: str, name: Any, why: str) -> None:
    told = refused("-", stdin=lines("fine", {field: name}))
    assert re.search(rf'standard input, line 2 has (a|the) "{field}".*{why}', told)


def test_the_same_name_twice_is_told_with_both_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.json"
    one.write_text(lines({"id": "a"}, {"id": "item-00004"}))
    other.write_text('[\n{"name": "a"},\n"a text"]')
    told = refused(one, other)
    assert f"{other}, line 2 would be called a, as {one}, line 1 is" in told
    assert f"{other}, line 3 would be called item-00004, as {one}, line 2 is" in told


def test_the_first_mistakes_are_told_and_the_others_counted(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(lines(*range(12), "fine"))
    told = refused(file)
    assert "nothing was submitted, because 12 of 13 values cannot be used" in told
    assert [number for number in range(1, 13) if f"line {number} is a number" in told] == [1, 2, 3, 4, 5]
    assert "and 7 more" in told
    assert '{"prompt": "a red fox", "seed": 7}' in told


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.jsonl", ""), ("a.jsonl", "\n\n"), ("a.ndjson", "\ufeff"), ("a.json", ""), ("a.json", " [\n] ")],
)
def test_a_file_without_a_value_is_told(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert f"{name} holds no value" in refused(tmp_path / name)


def test_a_value_that_is_too_large_or_too_deep_or_no_text_is_told() -> None:
    deep = '{"a":' * 40 + "1" + "}" * 40
    told = refused("-", stdin=lines({"p": "x" * VALUE_BYTES}) + deep + '\n{"a": "\\ud800"}\n')
    assert "line 1 cannot be sent: it has 65,544 bytes as JSON, and a value may have 65,536" in told
    assert "line 2 cannot be sent: it is nested deeper than 32 levels" in told
    assert "line 3 cannot be sent: it holds half a character" in told


def test_a_pattern_in_quotes_names_files(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(lines({"id": name}))
    assert [one.path for one in read(tmp_path / "*.jsonl").files] == ["a", "b"]
    assert "nothing matches" in refused(tmp_path / "c*.jsonl")


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    assert is_value_source(str(pipe))
    writer = threading.Thread(target=pipe.write_text, args=(lines("fox"),))
    writer.start()
    assert named(read(pipe)) == [("item-00001", {"prompt": "fox"})]
    writer.join(10)


def test_a_file_that_is_not_there_or_read_twice_is_told(tmp_path: Path) -> None:
    assert "there is no" in refused(tmp_path / "a.jsonl")
    assert "once only" in refused("-", "-", stdin='"a"')


def test_many_values_take_little_memory_and_are_read_quickly() -> None:
    # given as many as a test has time for; a million are the same a hundred times
    count = 10_000
    counted: list[int] = []
    stdin = io.BytesIO(b"".join(b'{"prompt": "animal %d"}\n' % number for number in range(count)))
    found = read_values(["-"], stdin=stdin, on_found=counted.append)
    assert len(found.files) == count
    assert counted == [*range(1_000, count + 1, 1_000)]
    assert not hasattr(found.files[0], "__dict__")


@pytest.mark.parametrize("prompt", ["fox", "ü" * 50, "\N{FOX FACE}" * 50, '"\\\n'])
def test_what_a_value_takes_in_a_shard_is_known(prompt: str) -> None:
    value = InlineValue("n", json.dumps({"prompt": prompt}, ensure_ascii=False, separators=(",", ":")), "f", 1)
    written = json.dumps(value.item("field7").stored(), separators=(",", ":"))
    assert len(written) <= value.stored_bytes <= len(written) + 8
    assert value.size == len(value.open().read())
