"""Which file name of the truth is which of the results, from the surest rule to the loosest; nothing is guessed.

Tools that people draw with rename pictures: Label Studio puts eight hexadecimal digits before the name that a picture
was uploaded with, Roboflow makes `name_png.rf.<hash>.jpg` of `name.png`, and Windows writes backslashes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

Rule = Literal["name", "spelling", "folder", "label_studio", "roboflow", "stem"]
Key = tuple[str, ...]
_ByKey = Mapping[Key, Sequence[str]]
_Form = Callable[[str], str | None]
"""A file's last part, spelled alike -> what is compared of it; None where the form is not that of the name."""

_PREFIXED = re.compile(r"[0-9a-f]{8}-(?=.)")
_ROBOFLOW = re.compile(r"(.+)\.rf\.[0-9a-z]{8,64}(\.[0-9a-z]+)?")
"""32 hexadecimal digits in most exports; newer ones have fewer letters and digits."""
_SUFFIX = re.compile(r"(?<=.)[._](png|jpe?g|tiff?|webp|bmp|gif|hei[cf]|jp2|json|xml|txt)$")


@dataclass(frozen=True, kw_only=True)
class Match:
    """The same picture on both sides."""

    truth: str
    result: str
    rule: Rule


@dataclass(frozen=True, kw_only=True)
class Ambiguity:
    """Names of which some could be the same picture, and nothing says which."""

    truth: Sequence[str]
    results: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """All that is known of two lists of names."""

    matches: Sequence[Match]
    """In the truth's order."""
    ambiguities: Sequence[Ambiguity]


def matched(truth: Iterable[str], results: Iterable[str]) -> Matching:
    """Match names by the first rule by which one name of the truth and one of the results are alike.

    Names that are alike by a rule, and not just one on each side, are left alone by all rules after it.
    """
    left, right = _Names(truth), _Names(results)
    matches: dict[str, Match] = {}
    ambiguities = []
    for rule, left_key, right_key in _steps(max(left.depth, right.depth)):
        if not left.open or not right.open:
            break
        for true, found in _alike(left.by(left_key), right.by(right_key)):
            candidates = Ambiguity(truth=left.still_open(true), results=right.still_open(found))
            if not candidates.truth or not candidates.results:
                continue
            left.open -= set(candidates.truth)
            right.open -= set(candidates.results)
            if len(true) == len(found) == 1:
                matches[true[0]] = Match(truth=true[0], result=found[0], rule=rule)
            else:
                ambiguities.append(candidates)
    ordered = [matches[name] for name in left.names if name in matches]
    return Matching(matches=ordered, ambiguities=sorted(ambiguities, key=lambda one: list(one.truth)))


def _alike(lefts: _ByKey, rights: _ByKey) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The names of either side that have the same key."""
    return ((lefts[key], rights[key]) for key in lefts.keys() & rights.keys())


class _Names:
    """One side's names, and which of them are still open."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(dict.fromkeys(names))
        self.open = set(self.names)
        self._parts = {name: _parts(name) for name in self.names}
        self.depth = max((len(parts) for parts in self._parts.values()), default=0)

    def by(self, key_of: Callable[[str, Sequence[str]], Key | None]) -> _ByKey:
        """Key -> the names that have it: those that are matched too, beside which another is not plain."""
        names: dict[Key, list[str]] = {}
        for name in self.names:
            if (key := key_of(name, self._parts[name])) is not None:
                names.setdefault(key, []).append(name)
        return names

    def still_open(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.open]


# --- rules ---

_KeyOf = Callable[[str, Sequence[str]], Key | None]


def _steps(depth: int) -> Iterator[tuple[Rule, _KeyOf, _KeyOf]]:
    """Rules in their order, with the key of a name on either side; the more folders agree, the earlier."""
    yield "name", _as_it_is, _as_it_is
    yield "spelling", _whole_path, _whole_path
    for rule, left, right in _FORMS:
        for count in range(depth, 0, -1):
            yield rule, _ending(left, count), _ending(right, count)


def _as_it_is(name: str, _: Sequence[str]) -> Key:
    return (name,)


def _whole_path(_: str, parts: Sequence[str]) -> Key:
    return tuple(parts)


def _ending(form: _Form, count: int) -> _KeyOf:
    """The last `count` parts of a path, of which the last is in a form; no key of a shorter path."""

    def key(_: str, parts: Sequence[str]) -> Key | None:
        if len(parts) < count:
            return None
        last = form(parts[-1])
        return None if not last else (*parts[-count:-1], last)

    return key


def _parts(name: str) -> list[str]:
    """A path's parts in one spelling: slashes, percent signs, accents and case are as people's tools like them."""
    path = unicodedata.normalize("NFC", unquote(_path_of(name))).casefold().replace("\\", "/")
    return [part for part in path.split("/") if part not in ("", ".", "..")] or [name]


def _path_of(name: str) -> str:
    """Of an address, without what else is in it; Label Studio's local files are `/data/local-files/?d=<path>`."""
    if "://" not in name and not name.startswith("/data/"):
        return name
    try:
        address = urlsplit(name)
    except ValueError:
        return name
    return parse_qs(address.query).get("d", [address.path])[0]


def _last(name: str) -> str:
    return name


def _unprefixed(name: str) -> str | None:
    """Without Label Studio's digits."""
    return name[9:] if _PREFIXED.match(name) else None


def _from_roboflow(name: str) -> str | None:
    """`name_png` of `name_png.rf.<hash>.jpg`."""
    found = _ROBOFLOW.fullmatch(name)
    return found[1] if found else None


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _slug(name: str) -> str:
    """Only its letters and digits: what is between them each tool replaces in its own way."""
    return re.sub(r"[\W_]+", "-", name).strip("-")


def _then(first: _Form, *more: _Form) -> _Form:
    def form(name: str) -> str | None:
        told: str | None = first(name)
        for one in more:
            told = None if told is None else one(told)
        return told

    return form


def _either_way(rule: Rule, left: _Form, right: _Form) -> Sequence[tuple[Rule, _Form, _Form]]:
    """A tool's form on one side only: two of its names that differ in their digits are two pictures, until somebody
    says otherwise (and `20260304-a.png` is no name by Label Studio)."""
    return (rule, left, right), (rule, right, left)


_FORMS: Sequence[tuple[Rule, _Form, _Form]] = (
    ("folder", _last, _last),
    *_either_way("label_studio", _unprefixed, _last),
    *_either_way("label_studio", _then(_unprefixed, _slug), _slug),
    *_either_way("roboflow", _then(_from_roboflow, _slug), _slug),
    *_either_way("roboflow", _then(_from_roboflow, _unprefixed, _slug), _slug),
    ("stem", _stem, _stem),
    *_either_way("stem", _then(_unprefixed, _stem, _slug), _then(_stem, _slug)),
    *_either_way("stem", _then(_from_roboflow, _stem, _slug), _then(_stem, _slug)),
    *_either_way("stem", _then(_from_roboflow, _unprefixed, _stem, _slug), _then(_stem, _slug)),
)
