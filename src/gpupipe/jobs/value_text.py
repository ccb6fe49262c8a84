"""JSON that a person has written, as values with the lines that they stand in, and every mistake with its line.

A line, or an element of an array, is one value: an object, or a text, which means `{"prompt": text}`. Everything that
JSON leaves open and programs read differently is a mistake here: keys that are there twice, NaN, half characters.
"""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from gpupipe.errors import InputError
from gpupipe.jobs.sources import shown
from gpuworker.contract import VALUE_BYTES, VALUE_DEPTH

LINE_BYTES = 1 << 20
"""A value of the largest size, all of it escaped (six characters for one), and with room for spaces."""
DOCUMENT_BYTES = 256 << 20
"""Of what cannot be read line by line, so that it fits into any machine's memory."""
_AT_MOST = f"a value may have {VALUE_BYTES >> 10} KiB"
_TOO_DEEP = f"is nested deeper than the {VALUE_DEPTH} levels that a value may have"
_NO_COMMA = "is not JSON: after an element comes neither a comma nor the array's end"
_SHOWN = 40
_BLANK = " \t\r\n"
_STRUCTURE = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds where a value ends, whatever its numbers are."""
_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "an array", type(None): "null"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One value as somebody wrote it; `mistake` says, as the end of a sentence, why it is none."""

    line: int
    """From 1; 0 where there are no lines."""
    value: dict[str, Any] | None = None
    mistake: str = ""


def read_lines(opened: BinaryIO, name: str) -> Iterator[Written]:
    """The value of each line that is not blank. Raises InputError where the whole is no text in UTF-8."""
    number = 0
    while raw := opened.readline(LINE_BYTES + 1):
        number += 1
        if number == 1:
            _require_utf8_marks(raw, name)
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > LINE_BYTES:
            _skip_line(opened, raw)
            yield Written(line=number, mistake=f"is longer than {LINE_BYTES >> 20} MiB, and {_AT_MOST}")
        elif raw.strip():
            yield _of_line(raw, number)


def read_document(opened: BinaryIO, name: str) -> Iterator[Written]:
    """The elements of an array, or one value on any number of lines, or a value a line. Raises InputError."""
    data = opened.read(DOCUMENT_BYTES + 1)
    if len(data) > DOCUMENT_BYTES:
        raise InputError(
            f"{name} has more than {DOCUMENT_BYTES >> 20} MiB.",
            hint="Write one value a line into a file that ends in .jsonl, which is read line by line.",
        )
    _require_utf8_marks(data, name)
    text = _decoded(data.removeprefix(codecs.BOM_UTF8), name)
    if text.lstrip(_BLANK).startswith("["):
        yield from _elements(text)
    elif _is_whole(text):
        yield _of_text(text.strip(_BLANK), _line_at(text, _skipped(text, 0)))
    else:
        numbered = enumerate(text.split("\n"), 1)
        yield from (_of_text(line.strip(_BLANK), number) for number, line in numbered if line.strip(_BLANK))


def read_one(text: str) -> Written:
    """One value that was given as an argument, where no line says more."""
    return replace(_of_text(text.strip(_BLANK), 1), line=0)


# --- texts to values ---


def _of_line(raw: bytes, number: int) -> Written:
    try:
        text = raw.decode().strip(_BLANK)
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start + 1} is 0x{raw[error.start]:02x}"
        return Written(line=number, mistake=f"is not UTF-8 ({wrong}): save the file as UTF-8, which all JSON is")
    return _of_text(text, number)


def _of_text(text: str, number: int) -> Written:
    if not text:
        return Written(line=number, mistake="is empty")
    try:
        return Written(line=number, value=_as_object(_STRICT.decode(text)))
    except RecursionError:
        return Written(line=number, mistake=_TOO_DEEP)
    except json.JSONDecodeError as error:
        return Written(line=number + error.lineno - 1, mistake=_no_json(text, error))
    except ValueError as error:
        return Written(line=number, mistake=str(error))


def _as_object(found: Any) -> dict[str, Any]:
    if isinstance(found, str):
        if not found.strip():
            raise ValueError("is an empty text")
        return {"prompt": found}
    if isinstance(found, dict):
        return found
    raise ValueError(f"is {_KINDS.get(type(found), 'something else')}: a value is an object, or a text in quotes")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"has the key {_quoted(twice)} twice: leave one out")
    return found


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"holds {word}, which JSON does not have: write null, or a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"holds the number {text[:_SHOWN]}, which is too large for any program")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"holds a whole number of {len(text):,} digits: write it as a text in quotes") from error


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
)
"""Made once: to make it takes longer than to read a line. Raises ValueError, of which the message ends a sentence."""


def _no_json(text: str, error: json.JSONDecodeError) -> str:
    if text[0] not in '{["':
        return f"is not JSON: a plain text needs quotes, {_quoted(text)}"
    if "control character" in error.msg:
        return f"is not JSON: character {error.colno} is a control character; write it as \\n, \\t or \\u0000"
    return f"is not JSON: {error.msg[0].lower()}{error.msg[1:]} at character {error.colno}"


def _quoted(text: str) -> str:
    return shown(json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "…", ensure_ascii=False))


# --- the parts of a document ---


def _is_whole(text: str) -> bool:
    """Is it one value on any number of lines, be it damaged, and not one a line?"""
    start = _skipped(text, 0)
    try:
        _, end = _STRUCTURE.raw_decode(text, start)
    except (ValueError, RecursionError):
        return text.startswith("{", start) and not any(map(_is_object, text[start:].split("\n", 2)[:2]))
    return not text[end:].strip(_BLANK)


def _is_object(line: str) -> bool:
    line = line.strip(_BLANK)
    try:
        return line.startswith("{") and _STRUCTURE.raw_decode(line)[1] == len(line)
    except (ValueError, RecursionError):
        return False


def _elements(text: str) -> Iterator[Written]:
    """Of an array, up to the first place where it is none."""
    at, line, counted = _skipped(text, _skipped(text, 0) + 1), 1, 0
    is_over = text.startswith("]", at)
    while not is_over:
        line, counted = line + text.count("\n", counted, at), at
        try:
            _, end = _STRUCTURE.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            yield _broken(text, line, error)
            return
        yield _of_text(text[at:end], line)
        at = _skipped(text, end)
        is_over = text.startswith("]", at)
        if not is_over and not text.startswith(",", at):
            yield Written(line=_line_at(text, at), mistake=_NO_COMMA)
            return
        at = at if is_over else _skipped(text, at + 1)
    if rest := text[at + 1 :].strip(_BLANK):
        yield Written(line=_line_at(text, at), mistake=f"is not JSON: after the array comes {_quoted(rest)}")


def _broken(text: str, line: int, error: json.JSONDecodeError | RecursionError) -> Written:
    if isinstance(error, RecursionError):
        return Written(line=line, mistake=_TOO_DEEP)
    return Written(line=error.lineno, mistake=_no_json(text[error.pos :] or "[", error))


def _skipped(text: str, at: int) -> int:
    """The next place that is not blank."""
    while text[at : at + 1] and text[at] in _BLANK:
        at += 1
    return at


def _line_at(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


# --- bytes to text ---


def _require_utf8_marks(data: bytes, name: str) -> None:
    if data.startswith(_UTF16_OR_32):
        raise InputError(f"{name} is UTF-16 or UTF-32 text.", hint="Save it as UTF-8, which all JSON is.")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}, line {line}: the byte 0x{data[error.start]:02x} is not UTF-8.",
            hint="Save it as UTF-8, which all JSON is.",
        ) from error


def _skip_line(opened: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = opened.readline(LINE_BYTES)
