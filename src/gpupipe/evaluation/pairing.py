"""Which image and category of the results is which of the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from gpupipe.errors import InputError
from gpupipe.evaluation.labelled import Labelled, Picture, Thing, names_of

ALL = "all"
"""What every category is called where their names are ignored."""


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The images that both have, and their objects under common names; and what only one of them has."""

    pictures: Sequence[Picture]
    categories: Sequence[str]
    """Those of the truth."""
    true: Sequence[Thing]
    found: Sequence[Thing]
    images_only_in_truth: Sequence[str]
    images_only_in_results: Sequence[str]
    categories_only_in_results: Mapping[str, int]
    """And how many instances of each were found, none of which counts."""


def paired(truth: Labelled, results: Labelled, *, ignore_categories: bool) -> Pairing:
    """Match images by file name and categories by name. Raises InputError where nothing is common."""
    names = _matched(truth.pictures, results.pictures)
    if not names:
        raise InputError(
            f"{truth.path} and {results.path} have no image in common: "
            f"{_some(truth.pictures)} on one side, {_some(results.pictures)} on the other.",
            hint="Images are matched by their file name.",
        )
    pictures = [_sized(truth.pictures[name], results.pictures[other]) for name, other in names.items()]
    true = [thing for thing in truth.things if thing.file_name in names]
    back = {other: name for name, other in names.items()}
    found = [replace(thing, file_name=back[thing.file_name]) for thing in results.things if thing.file_name in back]
    true, found = _named_alike(true, found, ignore_categories=ignore_categories)
    categories = names_of(true)
    _require_common(categories, found)
    return Pairing(
        pictures=pictures,
        categories=categories,
        true=true,
        found=[thing for thing in found if thing.category in categories],
        images_only_in_truth=sorted(set(truth.pictures) - names.keys()),
        images_only_in_results=sorted(set(results.pictures) - back.keys()),
        categories_only_in_results=Counter(thing.category for thing in found if thing.category not in categories),
    )


def _matched(truth: Iterable[str], results: Iterable[str]) -> dict[str, str]:
    """Name in the truth -> name in the results: the same path, or else the same last part where that is plain."""
    left, right = list(truth), set(results)
    same = {name: name for name in left if name in right}
    ends_left, ends_right = _by_last_part(set(left) - same.keys()), _by_last_part(right - same.keys())
    return {
        name: other
        for name in left
        if (other := same.get(name) or _only(ends_left, ends_right, _last_part(name))) is not None
    }


def _by_last_part(names: Iterable[str]) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(_last_part(name), []).append(name)
    return ends


def _last_part(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _only(left: Mapping[str, Sequence[str]], right: Mapping[str, Sequence[str]], end: str) -> str | None:
    return right[end][0] if len(left.get(end, ())) == len(right.get(end, ())) == 1 else None


def _sized(true: Picture, found: Picture) -> Picture:
    """The image with the size that is known. Raises InputError where both sides know one and they differ."""
    if true.width and found.width and (true.width, true.height) != (found.width, found.height):
        raise InputError(
            f"{true.file_name} has {true.width}×{true.height} pixels in the truth and {found.width}×{found.height} "
            "in the results.",
            hint="Truth and results must be drawn in the same pixels.",
        )
    known = found if found.width else true
    return Picture(file_name=true.file_name, width=known.width, height=known.height)


def _named_alike(
    true: Sequence[Thing], found: Sequence[Thing], *, ignore_categories: bool
) -> tuple[list[Thing], list[Thing]]:
    """Both with the truth's spelling of a name: case and spaces around it make no difference."""
    if ignore_categories:
        return [replace(one, category=ALL) for one in true], [replace(one, category=ALL) for one in found]
    spelling: dict[str, str] = {}
    for one in true:
        spelling.setdefault(one.category.strip().casefold(), one.category)

    def alike(thing: Thing) -> Thing:
        return replace(thing, category=spelling.get(thing.category.strip().casefold(), thing.category))

    return [alike(one) for one in true], [alike(one) for one in found]


def _require_common(categories: Sequence[str], found: Sequence[Thing]) -> None:
    if not categories:
        raise InputError("the truth holds no object in the images that the results are about.")
    others = names_of(found)
    if others and not set(others) & set(categories):
        raise InputError(
            f"no category is common: the truth has {_some(categories)}, the results have {_some(others)}.",
            hint="Give the job the truth's name as its prompt, or add --ignore-categories.",
        )


def _some(names: Iterable[str]) -> str:
    told = sorted(names)
    return ", ".join(told[:3]) + (f" and {len(told) - 3:,} more" if len(told) > 3 else "") if told else "none"
