"""JSON as people write it: what is a value, on which line it stands, and what is said of what is none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.errors import InputError
from gpupipe.jobs.value_text import DOCUMENT_BYTES, LINE_BYTES, Written, read_document, read_lines, read_one

Read = Callable[[BinaryIO, str], Iterator[Written]]
BOTH = pytest.mark.parametrize("read", [read_lines, read_document])
OBJECTS = st.lists(
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()), max_size=3),
    min_size=1,
    max_size=4,
)


def values(read: Read, text: str | bytes) -> list[tuple[int, Any]]:
    """(line, value), or the mistake in place of the value."""
    data = text if isinstance(text, bytes) else text.encode()
    return [(one.line, one.mistake or one.value) for one in read(io.BytesIO(data), "f")]


@BOTH
def test_a_line_is_an_object_or_a_text(read: Read) -> None:
    assert values(read, '{"prompt": "a", "seed": 7}\r\n\n  "b c"  \n') == [
        (1, {"prompt": "a", "seed": 7}),
        (3, {"prompt": "b c"}),
    ]


@given(OBJECTS)
def test_what_json_writes_is_read_in_each_of_its_forms(objects: list[dict[str, Any]]) -> None:
    lines = "\n".join(map(json.dumps, objects))
    assert [value for _, value in values(read_lines, lines)] == objects
    assert [value for _, value in values(read_document, lines)] == objects
    for indent in (None, 2):
        text = json.dumps(objects, indent=indent, ensure_ascii=False)
        assert [value for _, value in values(read_document, text)] == objects
        assert values(read_document, "\n" + json.dumps(objects[0], indent=indent)) == [(2, objects[0])]


def test_lines_end_where_json_says_so() -> None:
    # given characters at which str.splitlines would cut
    text = '{"prompt": "a\u2028b\u0085c"}\n"d"'
    assert values(read_lines, text) == [(1, {"prompt": "a\u2028b\u0085c"}), (2, {"prompt": "d"})]


def test_elements_of_an_array_have_the_lines_on_which_they_begin() -> None:
    assert values(read_document, '[\n  "a",\n  {\n "prompt":\n "b"\n  },\n\n 7]') == [
        (2, {"prompt": "a"}),
        (3, {"prompt": "b"}),
        (8, "is a number: a value is an object, or a text in quotes"),
    ]


@BOTH
def test_a_byte_order_mark_is_no_part_of_it(read: Read) -> None:
    assert values(read, b'\xef\xbb\xbf"a"\n') == [(1, {"prompt": "a"})]


@BOTH
@pytest.mark.parametrize("text", ["", "\n \r\n\t\n"])
def test_nothing_is_no_value(read: Read, text: str) -> None:
    assert values(read, text) == []


def test_an_empty_array_holds_none() -> None:
    assert values(read_document, " [ ] ") == []


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('{"a": NaN}', "NaN, which JSON does not have"),
        ('{"a": [-Infinity]}', "-Infinity, which JSON does not have"),
        ("NaN", "NaN, which JSON does not have"),
        ('{"a": 1e999}', "1e999, which is too large"),
        ('{"a": ' + "9" * 5000 + "}", "5,000 digits: write it as a text"),
        ('{"a": 1, "b": 2, "a": 3}', 'the key "a" twice'),
        ('{"x": {"a": 1, "a": 1}}', 'the key "a" twice'),
        ('{"a": ' + "[" * 100_000 + "}", "nested deeper than the 32 levels"),
        ('{"a": "\x01"}', "character 8 is a control character"),
        ("a red fox", 'a plain text needs quotes, "a red fox"'),
        ("{'a': 1}", "expecting property name"),
        ('{"a": 1', "expecting ',' delimiter"),
        ('{"a": 1} {"b": 2}', "extra data"),
        ('""', "an empty text"),
        ('"  "', "an empty text"),
        ("7", "is a number"),
        ("null", "is null"),
        ("true", "is true or false"),
        ("[1]", "is an array"),
    ],
)
def test_what_is_no_value_is_told_with_its_line(line: str, mistake: str) -> None:
    found = values(read_lines, f'"fine"\n{line}\n"fine"')
    assert [number for number, _ in found] == [1, 2, 3]
    assert mistake in found[1][1]
    assert mistake in read_one(line).mistake


def test_an_argument_of_nothing_is_a_mistake() -> None:
    assert read_one(" ").mistake == "is empty"


def test_a_large_whole_number_is_a_number_like_others() -> None:
    assert read_one('{"seed": 123456789012345678901234567890}').value == {"seed": 123456789012345678901234567890}


def test_a_line_that_is_not_utf8_is_told_and_the_others_are_read() -> None:
    found = values(read_lines, b'"a"\n{"b": "\xff"}\n"c"\n')
    assert found[0::2] == [(1, {"prompt": "a"}), (3, {"prompt": "c"})]
    assert "byte 8 is 0xff" in found[1][1]


def test_a_line_that_is_longer_than_any_value_is_passed_over_to_its_end() -> None:
    long = '"' + "x" * (2 * LINE_BYTES) + '"'
    found = values(read_lines, f'"a"\n{long}\n"b"\n')
    assert found[0::2] == [(1, {"prompt": "a"}), (3, {"prompt": "b"})]
    assert "longer than 1 MiB" in found[1][1]


@BOTH
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_other_encodings_are_told_at_once(read: Read, encoding: str) -> None:
    data = ("\ufeff" if encoding.endswith("be") else "") + '{"prompt": "a"}\n'
    with pytest.raises(InputError, match=r"f is UTF-16 or UTF-32 text.*UTF-8"):
        values(read, data.encode(encoding))


def test_a_document_that_is_not_utf8_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match="f, line 2: the byte 0xe4 is not UTF-8"):
        values(read_document, '["a",\n"ä"]'.encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "line", "mistake"),
    [
        ('["a",\n "b"\n "c"]', 3, "neither a comma nor the array's end"),
        ('["a",\n]', 2, "is not JSON"),
        ('["a",\n', 2, "is not JSON"),
        ('["a"]\n["b"]', 1, 'after the array comes "[\\"b\\"]"'),
        ("[" * 100_000, 1, "nested deeper"),
        ('{\n  "prompt": "a"\n  "seed": 7\n}', 3, "expecting ',' delimiter"),
        ('"a"\n{"b": 1', 2, "expecting ',' delimiter"),
        ('{"a": 1\n{"b": 1}', 1, "expecting ',' delimiter"),
    ],
)
def test_where_a_document_is_damaged_is_told(text: str, line: int, mistake: str) -> None:
    wrong = [(number, said) for number, said in values(read_document, text) if isinstance(said, str)]
    assert wrong[0][0] == line
    assert mistake in wrong[0][1]


def test_a_document_that_would_fill_the_memory_is_refused() -> None:
    class Large(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size == DOCUMENT_BYTES + 1
            return bytes(size)

    with pytest.raises(InputError, match=r"more than 256 MiB.*\.jsonl"):
        list(read_document(Large(), "f"))
