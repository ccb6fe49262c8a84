"""Which image and category of the results is which of the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gpupipe.errors import InputError
from gpupipe.evaluation.matching import Ambiguity, Match, matched
from gpupipe.evaluation.objects import Box, Labelled, Picture, Thing, names_of

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
    matches: Sequence[Match]
    """Of the images that both have: by which rule each was matched."""
    ambiguities: Sequence[Ambiguity]
    """Of those that only one of them has: which of them could be the same."""


def paired(truth: Labelled, results: Labelled, *, ignore_categories: bool) -> Pairing:
    """Match images by file name and categories by name. Raises InputError where nothing is common."""
    _require_pixels(truth)
    matching = matched(truth.pictures, results.pictures)
    names = {one.truth: one.result for one in matching.matches}
    if not names:
        raise _nothing_in_common(truth, results, matching.ambiguities)
    pictures = [_sized(truth.pictures[one.truth], results.pictures[one.result], one) for one in matching.matches]
    back = {other: name for name, other in names.items()}
    true = [thing for thing in truth.things if thing.file_name in names]
    found = [replace(thing, file_name=back[thing.file_name]) for thing in results.things if thing.file_name in back]
    _require_objects(truth, true)
    _require_inside(true, {one.file_name: one for one in pictures})
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
        matches=matching.matches,
        ambiguities=matching.ambiguities,
    )


def _nothing_in_common(truth: Labelled, results: Labelled, ambiguities: Sequence[Ambiguity]) -> InputError:
    if ambiguities:
        first = ambiguities[0]
        return InputError(
            f"no image of {truth.path} is plainly one of {results.path}: "
            f"{_some(first.truth)} could be {_some(first.results)}.",
            hint="Give images the same paths on both sides; of an augmented data set take the pictures as drawn.",
        )
    return InputError(
        f"{truth.path} and {results.path} have no image in common: "
        f"{_some(truth.pictures)} on one side, {_some(results.pictures)} on the other.",
        hint="Images are matched by their file name.",
    )


def _sized(true: Picture, found: Picture, match: Match) -> Picture:
    """The image with the size that is known. Raises InputError where both sides know one and they differ."""
    if true.width and found.width and (true.width, true.height) != (found.width, found.height):
        raise InputError(
            f"{true.file_name} has {true.width}×{true.height} pixels in the truth and {found.width}×{found.height} "
            f"in the results{'' if match.result == match.truth else f' ({match.result})'}.",
            hint=f"Truth and results must be drawn in the same pixels.{_why_resized(true, found, match)}",
        )
    known = found if found.width else true
    return Picture(file_name=true.file_name, width=known.width, height=known.height)


def _why_resized(true: Picture, found: Picture, match: Match) -> str:
    if match.rule == "roboflow":
        return " Export the data set without Resize and without augmentations."
    if (true.width, true.height) == (found.height, found.width):
        return " One of them is turned: results are upright, as the picture's EXIF orientation says."
    return ""


def _require_pixels(truth: Labelled) -> None:
    """Raises InputError for boxes that are shares of their image, as YOLO has them: none would match."""
    if truth.things and all(_are_shares(thing) for thing in truth.things):
        raise InputError(
            f"{truth.path} has no object of more than one pixel: its numbers are shares of an image's sides.",
            hint="Multiply them by the width and height: boxes and polygons are in pixels.",
        )


def _are_shares(thing: Thing) -> bool:
    """Polygons count before the box, which some programs write in pixels beside polygons that are not."""
    if isinstance(thing.segmentation, Sequence):
        return all(number <= 1 for outline in thing.segmentation for number in outline)
    return max(thing.box) <= 1


def _require_inside(true: Iterable[Thing], pictures: Mapping[str, Picture]) -> None:
    """Raises InputError for an object whose middle lies beside its image: it was drawn in other pixels."""
    for thing in true:
        picture = pictures[thing.file_name]
        x, y = _middle(thing.box)
        if picture.width and picture.height and not (0 <= x <= picture.width and 0 <= y <= picture.height):
            raise InputError(
                f"an object of {thing.file_name} in the truth has its middle at {x:g}, {y:g}, and the image has "
                f"{picture.width}×{picture.height} pixels.",
                hint="Truth and results must be drawn in the same pixels; a bbox is x, y, width, height.",
            )


def _middle(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


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


def _require_objects(truth: Labelled, true: Sequence[Thing]) -> None:
    """Raises InputError where nothing could be found."""
    if not truth.things:
        raise InputError(
            f"{truth.path} holds no object at all: its `annotations` are empty.",
            hint="Export it again, with what was drawn.",
        )
    if not true:
        raise InputError("the truth holds no object in the images that the results are about.")
    if all(thing.is_crowd for thing in true):
        raise InputError(
            f"every object of the truth is a crowd (iscrowd 1), of which none can be found: {len(true):,} of them.",
            hint="CVAT exports masks so: set their iscrowd to 0 where each is one object.",
        )


def _require_common(categories: Sequence[str], found: Sequence[Thing]) -> None:
    others = names_of(found)
    if others and not set(others) & set(categories):
        raise InputError(
            f"no category is common: the truth has {_some(categories)}, the results have {_some(others)}.",
            hint="Give the job the truth's name as its prompt, or add --ignore-categories.",
        )


def _some(names: Iterable[str]) -> str:
    told = sorted(names)
    return ", ".join(told[:3]) + (f" and {len(told) - 3:,} more" if len(told) > 3 else "") if told else "none"
