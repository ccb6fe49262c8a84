"""Values that are submitted: where they come from, what they are called, and each in little memory.

A value's name is its field `name`, or else `id`; without one it is `item-00001`, by its place in the submission.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from gpupipe.errors import InputError
from gpupipe.jobs.inputs import Inputs
from gpupipe.jobs.sources import composed, shown
from gpupipe.jobs.value_text import Written, read_document, read_lines, read_one
from gpuworker.contract import ContractError, Item, content_of, generated_name, mistake_in_name

STDIN, STDIN_NAME = "-", "standard input"
LINES_SUFFIXES, DOCUMENT_SUFFIXES = (".jsonl", ".ndjson"), (".json",)
FORM = 'A value is an object such as {"prompt": "a red fox", "seed": 7}, or a text in quotes'
NAME_FIELDS = ("name", "id")
CALLED_SO = "its result is called so; change it, rename the field, or leave it out"
MISTAKES_SHOWN = 5
TELL_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class InlineValue:
    """One value. Positional, and held as text: a million of them must fit into memory."""

    path: str
    """Its name; where a file has its path below the project."""
    text: str
    """Compact JSON with sorted keys."""
    source: str
    line: int

    @property
    def size(self) -> int:
        """Bytes in UTF-8."""
        return len(self.text) if self.text.isascii() else len(self.text.encode())

    @property
    def stamp(self) -> int:
        """Of its content."""
        return int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:8])

    @property
    def stored_bytes(self) -> int:
        """What it takes in a shard's document, which is ASCII."""
        is_plain = self.text.isascii() and "\x7f" not in self.text
        text = len(self.text) if is_plain else sum(map(_escaped_length, self.text))
        return len(json.dumps({"name": self.path, "value": ""})) + text

    def item(self, project: str) -> Item:
        """As a shard of this project has it."""
        return Item.inline(project=project, name=self.path, value=json.loads(self.text))

    def open(self) -> BinaryIO:
        return io.BytesIO(self.text.encode())

    def check(self, opened: BinaryIO) -> None:
        """Nothing to do: it is in memory."""

    def __str__(self) -> str:
        return _place(self.source, self.line)


def _place(source: str, line: int) -> str:
    return f"{source}, line {line}" if line else source


def _escaped_length(char: str) -> int:
    """JSON in ASCII writes DEL and what is beyond it as `\\u007f`, of two such where it is beyond 16 bits."""
    return 1 if char < "\x7f" else 6 if char <= "\uffff" else 12


@dataclass(frozen=True, kw_only=True)
class Values(Inputs):
    """All values of a submission, in the order in which they were given; nothing lies beside them."""

    files: Sequence[InlineValue]


def is_value_source(argument: str) -> bool:
    """Does an argument of `submit` name values: JSON by its suffix, standard input, a pipe of the shell?"""
    if argument == STDIN or argument.lower().endswith((*LINES_SUFFIXES, *DOCUMENT_SUFFIXES)):
        return not os.path.isdir(argument)
    try:
        return stat.S_ISFIFO(os.stat(argument).st_mode)
    except (OSError, ValueError):
        return False


def read_values(
    arguments: Sequence[str],
    texts: Sequence[str] = (),
    *,
    stdin: BinaryIO,
    on_found: Callable[[int], None] = lambda _: None,
) -> Values:
    """All values of the sources that `arguments` name, then those of `texts`, each with a name of its own.

    Raises InputError for a source that cannot be read or holds none, and with the first mistakes in values.
    """
    found = _Found(on_found)
    for source, values in _sources(arguments, texts, stdin):
        before = found.count
        for written in values:
            found.add(source, written)
        if found.count == before:
            raise InputError(f"{source} holds no value: it is empty.", hint=f"{FORM}, one a line.")
    found.require_no_mistake()
    return Values(files=found.values)


class _Found:
    """The values so far, and their names."""

    def __init__(self, on_found: Callable[[int], None]) -> None:
        self.values: list[InlineValue] = []
        self.count = 0
        self._by_name: dict[str, InlineValue] = {}
        self._mistakes: list[str] = []
        self._mistaken = 0
        self._on_found = on_found

    def add(self, source: str, written: Written) -> None:
        """The next one, or a mistake."""
        self.count += 1
        try:
            self.values.append(self._named(source, written))
        except ValueError as error:
            self._mistaken += 1
            if len(self._mistakes) < MISTAKES_SHOWN:
                self._mistakes.append(f"{_place(source, written.line)} {error}")
        if self.count % TELL_EVERY == 0:
            self._on_found(self.count)

    def _named(self, source: str, written: Written) -> InlineValue:
        """Raises ValueError, of which the message ends a sentence."""
        if written.value is None:
            raise ValueError(written.mistake)
        name = name_of(written.value) or generated_name(self.count)
        value = InlineValue(name, _content(written.value), source, written.line)
        if (other := self._by_name.setdefault(name, value)) is not value:
            raise ValueError(f"would be called {shown(name)}, as {other} is: give each a name of its own, or none")
        return value

    def require_no_mistake(self) -> None:
        if not self._mistaken:
            return
        lines = "".join(f"\n  {mistake}" for mistake in self._mistakes)
        more = self._mistaken - len(self._mistakes)
        raise InputError(
            f"nothing was submitted, because {self._mistaken:,} of {self.count:,} "
            f"{'value' if self.count == 1 else 'values'} cannot be used:{lines}"
            + (f"\n  and {more:,} more" if more else ""),
            hint=f"{FORM}. Mend what is wrong and submit again.",
        )


def name_of(value: dict[str, Any]) -> str:
    """What a value says that it is called; "" where it says nothing. Raises ValueError."""
    for field in NAME_FIELDS:
        given = value.get(field)
        if given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise ValueError(f'has a "{field}" that is neither a text nor a whole number: {CALLED_SO}')
        name = composed(str(given))
        if mistake := mistake_in_name(name):
            raise ValueError(f'has the "{field}" {shown(name[:60])!r}, which {mistake}: {CALLED_SO}')
        return name
    return ""


def _content(value: dict[str, Any]) -> str:
    try:
        return content_of(value).decode()
    except ContractError as error:
        raise ValueError(f"cannot be sent: {error}") from error


# --- sources ---


def _sources(
    arguments: Sequence[str], texts: Sequence[str], stdin: BinaryIO
) -> Iterator[tuple[str, Iterator[Written]]]:
    """Each with what a person calls it."""
    if arguments.count(STDIN) > 1:
        raise InputError("standard input (-) can be read once only.", hint="Name it once.")
    for argument in arguments:
        if argument == STDIN:
            yield STDIN_NAME, _of(read_document(stdin, STDIN_NAME), STDIN_NAME)
        else:
            places = _places(os.path.expanduser(argument))
            yield from ((shown(place), _of(_of_file(place), shown(place))) for place in places)
    for number, text in enumerate(texts, 1):
        yield f"--value {number}" if len(texts) > 1 else "--value", iter([read_one(text)])


def _places(argument: str) -> Sequence[str]:
    """The file, or what a quoted pattern matches."""
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [argument]
    if not (found := sorted(glob.glob(argument, recursive=True))):
        raise InputError(f"nothing matches {shown(argument)}.", hint="Check the pattern and the folder.")
    return found


def _of_file(place: str) -> Iterator[Written]:
    with open(place, "rb") as opened:
        read = read_lines if place.lower().endswith(LINES_SUFFIXES) else read_document
        yield from read(opened, shown(place))


def _of(values: Iterator[Written], name: str) -> Iterator[Written]:
    """The same, with what the system says of their source in plain words."""
    try:
        yield from values
    except FileNotFoundError as error:
        raise InputError(f"there is no {name}.", hint="Check the path; patterns need quotes.") from error
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}.", hint="Check that it may be read.") from error
