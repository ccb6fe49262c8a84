"""What the report says of a job, gathered from the stream of outcomes: sums, and the images worth looking at.

Holds sums and at most a few hundred images, whatever the job's size. What is chosen depends on the results alone,
not on the order in which they came.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpupipe.jobs.folder import THUMB
from gpupipe.jobs.report.words import brief, whole
from gpupipe.jobs.results import Commit, Outcome
from gpuworker.contract import Artifact, ItemResult, folder_of_picture, fragments_in

GALLERY_IMAGES = 300
GALLERY_FAILURES = 24
"""Failures come first in the gallery, but have no picture; the rest of them waits for who asks for only those."""
GALLERY_UNCERTAIN = 120
GALLERY_WARNED = 90
"""Images with a warning that come before the sample, so that who asks for those finds some in any job."""
FAILURE_ROWS = 500
WARNING_ROWS = 50
"""Of each warning; all of them are in the merged file's images."""
FINDS_SHOWN = 40
OVERLAY = "overlay.jpg"
SCORE_BINS = 20
MACHINES_SHOWN = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One image of the gallery."""

    file_name: str
    folder: str = ""
    """Where its files are, below the report's own folder; "" for a failure."""
    finds: Sequence[tuple[str, float | None]] = ()
    """(category, score) of the instances found, as many as are shown."""
    found: int = 0
    """How many there are."""
    categories: Mapping[str, tuple[int, float | None]] = field(default_factory=dict)
    """How often each was found in the image, and the best score; by name."""
    certainty: float | None = None
    """Mean score of its instances; None where nothing was found or nothing has a score."""
    width: int = 0
    height: int = 0
    thumb: Artifact | None = None
    overlay: bool = False
    pages: int = 1
    """Of its file that were looked at; the picture is of the first, what was found of all of them."""
    more_overlays: Sequence[tuple[int, str]] = ()
    """(page, place below the folder) of those of later pages."""
    code: str = ""
    message: str = ""
    warnings: Sequence[str] = ()
    """Stable words: what has to be known of its result."""
    reason: str = ""
    """Why nothing was found, and what to try, where the task says so."""
    area_m2: float | None = None
    """Of all that was found; None where the image is not georeferenced."""
    value: str | None = None
    """What the item is, where it is no file, in a line."""
    details: str = ""
    """The same as JSON, and what came of it where that is neither picture nor instances; both cut."""


@dataclass
class CategoryCount:
    """How often a category was found, and its number (which decides its colour) where it was first met."""

    number: int
    instances: int = 0
    images: int = 0
    area_m2: float = 0.0


@dataclass
class Summary:
    """Sums over everything added."""

    done: int = 0
    empty: int = 0
    """Images in which nothing was found."""
    instances: int = 0
    is_coco: bool = False
    categories: dict[str, CategoryCount] = field(default_factory=dict)
    scores: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    """Instances by score, in bins from 0 to 1."""
    failures: Counter[str] = field(default_factory=Counter)
    failure_rows: list[Card] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    """Images by what has to be known of their results (`contract.CAVEATS`)."""
    warned: dict[str, list[str]] = field(default_factory=dict)
    """File names of some of them."""
    warned_images: int = 0
    """Images with one warning or more."""
    systems: Counter[str] = field(default_factory=Counter)
    """Images by their coordinate reference system."""
    area_m2: float | None = None
    """Of all that was found in georeferenced images; None where there is none."""
    stages: Counter[str] = field(default_factory=Counter)
    """Seconds by stage, summed over the machines' parallel hands."""
    machines: Counter[str] = field(default_factory=Counter)
    """Items by machine."""
    processed: int = 0
    """Items processed, repeats included."""
    started_at: float | None = None
    finished_at: float | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    _uncertain: list[tuple[_Last, Card]] = field(default_factory=list)
    _with_warnings: list[tuple[_Last, Card]] = field(default_factory=list)
    _sample: list[tuple[_Last, Card]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def wall_s(self) -> float:
        """Seconds from the first start of work to its last commit."""
        return max(0.0, (self.finished_at or 0.0) - (self.started_at or 0.0))

    def add_commit(self, commit: Commit) -> None:
        """Add who did a shard, when, and where the time went."""
        self.engine, self.header = commit.engine, commit.header
        self.machines[commit.machine] += commit.items
        self.processed += commit.items
        stages = {name: s for name, s in commit.timings.items() if name != "wall" and not name.startswith("gpu_")}
        self.stages.update(stages)
        self.started_at = min(self.started_at or commit.started_at, commit.started_at)
        self.finished_at = max(self.finished_at or 0.0, commit.finished_at)

    def add(self, outcome: Outcome, folder: str) -> None:
        """Add one item; `folder` is where its files are, below the report's own folder."""
        if outcome.result is None:
            self._add_failure(outcome)
            return
        names = {entry["id"]: str(entry["name"]) for entry in outcome.commit.header.get("categories", ())}
        finds = _finds(outcome.result, names)
        self.done += 1
        self.is_coco = self.is_coco or bool(names)
        self.instances += len(finds)
        self.empty += not finds
        self._count(finds, {name: number for number, name in names.items()})
        self._place(outcome.result, names)
        self._warn(outcome)
        self._consider(outcome, finds, folder)

    def _add_failure(self, outcome: Outcome) -> None:
        assert outcome.failure is not None
        self.failures[outcome.failure.code] += 1
        if len(self.failure_rows) < FAILURE_ROWS:
            failure = outcome.failure
            self.failure_rows.append(
                Card(
                    file_name=outcome.file_name,
                    code=failure.code,
                    message=failure.message,
                    value=_value(outcome),
                    details=_details(outcome),
                )
            )

    def _count(self, finds: Sequence[tuple[str, float | None]], numbers: Mapping[str, int]) -> None:
        for name, score in finds:
            self.categories.setdefault(name, CategoryCount(number=numbers.get(name, 1))).instances += 1
            if score is not None:
                self.scores[min(SCORE_BINS - 1, max(0, int(score * SCORE_BINS)))] += 1
        for name in {name for name, _ in finds}:
            self.categories[name].images += 1

    def _place(self, result: ItemResult, names: Mapping[int, str]) -> None:
        image = result.fragment.get("image", {})
        if "crs" in image:
            self.systems[image["crs"] or "one without an EPSG code"] += 1
        for annotation in _annotations(result):
            if "area_m2" in annotation:
                self.area_m2 = (self.area_m2 or 0.0) + annotation["area_m2"]
                self.categories[names.get(annotation.get("category_id", 0), "?")].area_m2 += annotation["area_m2"]

    def _warn(self, outcome: Outcome) -> None:
        words = _warnings(outcome)
        self.warned_images += bool(words)
        for word in words:
            self.warnings[word] += 1
            rows = self.warned.setdefault(word, [])
            if len(rows) < WARNING_ROWS:
                rows.append(outcome.file_name + _pages_left(outcome) * (word == "pages_left"))

    def _consider(self, outcome: Outcome, finds: Sequence[tuple[str, float | None]], folder: str) -> None:
        scores = [score for _, score in finds if score is not None]
        certainty = sum(scores) / len(scores) if scores else None

        def card() -> Card:
            return _card(outcome, finds, folder, certainty)

        name = outcome.file_name
        if certainty is not None:
            _keep_first(self._uncertain, _Last((certainty, name)), card, at_most=GALLERY_UNCERTAIN)
        lot = hashlib.sha256(name.encode()).hexdigest()[:16]
        if _warnings(outcome):
            _keep_first(self._with_warnings, _Last((lot, name)), card, at_most=GALLERY_WARNED)
        _keep_first(self._sample, _Last((lot, name)), card, at_most=GALLERY_IMAGES)

    def gallery(self) -> list[Card]:
        """At most 300 images: failures, then those of which the engine was least certain, then by name some with
        warnings and a sample."""
        failures, uncertain = self.failure_rows[:GALLERY_FAILURES], _in_order(self._uncertain)
        chosen = {card.file_name for card in uncertain}
        lots = {card.file_name: card for card in (*_in_order(self._with_warnings), *_in_order(self._sample))}
        room = GALLERY_IMAGES - len(failures) - len(uncertain)
        sample = [card for name, card in lots.items() if name not in chosen][:room]
        return [*failures, *uncertain, *sorted(sample, key=lambda card: card.file_name)]


@dataclass(frozen=True, slots=True)
class _Last:
    """A key whose order is reversed, so that the heap's first is the one to give up."""

    key: tuple[Any, str]

    def __lt__(self, other: _Last) -> bool:
        return self.key > other.key


def _keep_first(kept: list[tuple[_Last, Card]], key: _Last, card: Callable[[], Card], *, at_most: int) -> None:
    """Keep the `at_most` smallest keys; the card is made for those only."""
    if len(kept) < at_most:
        heapq.heappush(kept, (key, card()))
    elif key.key < kept[0][0].key:
        heapq.heapreplace(kept, (key, card()))


def _in_order(kept: Sequence[tuple[_Last, Card]]) -> list[Card]:
    return [card for _, card in sorted(kept, key=lambda one: one[0].key)]


def _finds(result: ItemResult, names: Mapping[int, str]) -> list[tuple[str, float | None]]:
    """(category, score) of an item's annotations, the surest first."""
    finds = [(names.get(one.get("category_id", 0), "?"), one.get("score")) for one in _annotations(result)]
    return sorted(finds, key=lambda find: (-(find[1] or 0.0), find[0]))


def _by_category(finds: Sequence[tuple[str, float | None]]) -> dict[str, tuple[int, float | None]]:
    """`finds` are the surest first."""
    number = Counter(name for name, _ in finds)
    best: dict[str, float | None] = {}
    for name, score in finds:
        best.setdefault(name, score)
    return {name: (number[name], best[name]) for name in sorted(number)}


def _warnings(outcome: Outcome) -> Sequence[str]:
    parts = fragments_in(outcome.result.fragment) if outcome.result else ()
    return tuple(dict.fromkeys(word for part in parts for word in part.get("image", {}).get("warnings", ())))


def _pages_left(outcome: Outcome) -> str:
    """Which pages of a file were not looked at, in words."""
    left = outcome.result.fragment.get("image", {}).get("pages_left", ()) if outcome.result else ()
    return f" (left: {', '.join(map(str, left))})" if left else ""


def _annotations(result: ItemResult) -> Iterator[Mapping[str, Any]]:
    """Of all pages of an item."""
    for part in fragments_in(result.fragment):
        yield from part.get("annotations", ())


def _more_overlays(result: ItemResult) -> Sequence[tuple[int, str]]:
    parts = list(enumerate(fragments_in(result.fragment)))
    places = [(part.get("image", {}).get("page", at + 1), folder_of_picture(at) + OVERLAY) for at, part in parts[1:]]
    return [(page, place) for page, place in places if place in result.artifacts]


def _area_m2(result: ItemResult) -> float | None:
    areas = [one["area_m2"] for one in _annotations(result) if "area_m2" in one]
    return sum(areas) if areas else None


def _card(outcome: Outcome, finds: Sequence[tuple[str, float | None]], folder: str, certainty: float | None) -> Card:
    result = outcome.result
    assert result is not None
    image = result.fragment.get("image", {})
    return Card(
        file_name=outcome.file_name,
        folder=folder,
        finds=tuple(finds[:FINDS_SHOWN]),
        found=len(finds),
        categories=_by_category(finds),
        certainty=certainty,
        width=int(image.get("width", 0)),
        height=int(image.get("height", 0)),
        thumb=result.artifacts.get(THUMB),
        overlay=OVERLAY in result.artifacts,
        pages=len(fragments_in(result.fragment)),
        more_overlays=_more_overlays(result),
        warnings=_warnings(outcome),
        reason=" ".join(str(image[word]) for word in ("reason", "hint") if image.get(word)),
        area_m2=_area_m2(result),
        value=_value(outcome),
        details=_details(outcome),
    )


def _value(outcome: Outcome) -> str | None:
    return None if outcome.value is None else brief(outcome.value)


def _details(outcome: Outcome) -> str:
    """The value, and a result that is no picture."""
    if outcome.value is None:
        return ""
    result = outcome.result.fragment if outcome.result else {}
    return "\n".join(map(whole, (outcome.value, *([result] if result and "image" not in result else []))))
