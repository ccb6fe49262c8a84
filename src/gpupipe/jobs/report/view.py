"""What the page shows, as plain values: words, shares of bars, counts with thousands marks; no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gpupipe import __version__
from gpupipe.jobs.advice import advice
from gpupipe.jobs.folder import ANNOTATIONS, LINES
from gpupipe.jobs.report.about import About
from gpupipe.jobs.report.summary import FAILURE_ROWS, GALLERY_FAILURES, MACHINES_SHOWN, SCORE_BINS, Card, Summary
from gpupipe.jobs.report.words import (
    PALETTE_COLOURS,
    area,
    colour,
    count,
    duration,
    milliseconds,
    plain,
    plural,
    when,
)
from gpupipe.tasks import finds_of, inputs_of
from gpuworker.contract import CAVEATS

CATEGORY_BARS = 12
CATEGORY_FILTERS = 14
CHIPS_ON_CARD = 3
SYSTEMS_SHOWN = 8
NOTHING_GIVEN: Mapping[str, str] = {"prompts": "all", "bands": "the first three"}
"""What an empty option means, where it is not `none`."""
STAGES = ("download", "decode", "infer", "encode", "upload")


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One large figure at the top."""

    value: str
    label: str
    note: str = ""
    tone: str = ""
    """"good", "bad" or "wait"; said in words too."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a chart."""

    label: str
    value: str
    percent: float
    """Length, of the whole width."""
    style: str = ""
    """Class of its colour."""
    note: str = ""


def view(summary: Summary, about: About, gallery: Sequence[Card]) -> dict[str, Any]:
    """The template's variables."""
    one, many = inputs_of(about.task)
    return {
        "about": about,
        "one": one,
        "many": many,
        "version": __version__,
        "made_at": datetime.now(UTC).timestamp(),
        "tiles": _tiles(summary, about),
        "outcomes": _outcomes(summary, about),
        "categories": _categories(summary),
        "categories_more": max(0, len(summary.categories) - CATEGORY_BARS),
        "histogram": _histogram(summary),
        "stages": _stages(summary, one),
        "gallery": gallery,
        "images": [card for card in gallery if not card.code],
        "failed_cards": [card for card in gallery if card.code],
        "spare_cards": summary.failure_rows[GALLERY_FAILURES:],
        "filters_shown": _filters(gallery),
        "pictured": summary.done + summary.failed,
        "failures": _failure_groups(summary),
        "warnings": _warning_groups(summary),
        "warned_unshown": summary.warned_images - sum(bool(card.warnings) for card in gallery),
        "merged": ANNOTATIONS if summary.is_coco or not summary.done else LINES,
        "failures_unlisted": max(0, summary.failed - FAILURE_ROWS),
        "summary": summary,
        "facts": _facts(summary, about),
        "options": _options(about),
        "colours": {name: colour(count.number) for name, count in summary.categories.items()},
    }


def filters() -> Mapping[str, Callable[..., Any]]:
    """What the template calls by name."""
    return {
        "count": count,
        "plural": plural,
        "duration": duration,
        "when": when,
        "area": area,
        "caveat": lambda word: str(CAVEATS.get(word, word)),
        "iso": lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "href": lambda path: quote(path),
        "chips": chips,
        "told": told,
        "advice": _advice,
        "score": lambda value: "" if value is None else f"{value:.2f}",
    }


# --- cards --------------------------------------------------------------------------------------------------


def chips(card: Card) -> list[tuple[str, int, float | None]]:
    """(category, how many, best score) of the categories on a card, the most frequent first."""
    return _ranked(card)[:CHIPS_ON_CARD]


def told(card: Card) -> str:
    """A card in words, for those who do not see the picture."""
    if card.code:
        return f"failed: {card.code}"
    if not card.found:
        return "nothing found"
    return ", ".join(f"{times:,} {name}" for name, times, _ in _ranked(card))


def _ranked(card: Card) -> list[tuple[str, int, float | None]]:
    found = [(name, times, best) for name, (times, best) in card.categories.items()]
    return sorted(found, key=lambda one: -one[1])


# --- parts --------------------------------------------------------------------------------------------------


def _tiles(summary: Summary, about: About) -> list[Tile]:
    whole = summary.done + summary.failed + about.cancelled + about.outstanding
    tiles = [
        Tile(
            value=count(summary.done),
            label=f"{inputs_of(about.task)[1]} done",
            note=f"of {count(whole)}" if whole != summary.done else "all of them" if whole else "there were none",
            tone="good" if whole and summary.done == whole else "",
        ),
        Tile(
            value=count(summary.failed),
            label="failed",
            note="listed below, with what to do"
            if summary.failed
            else "nothing went wrong"
            if about.is_complete
            else "so far",
            tone="bad" if summary.failed else "",
        ),
    ]
    if about.outstanding:
        tiles.append(Tile(value=count(about.outstanding), label="still to come", note="when fetched", tone="wait"))
    if about.cancelled:
        tiles.append(Tile(value=count(about.cancelled), label="cancelled", note="never processed"))
    if summary.is_coco:
        kinds = len(summary.categories)
        note = f"of {plural(kinds, 'category', 'categories')}" if kinds != 1 else _each(summary)
        if summary.area_m2 is not None:
            note = f"{note}, {area(summary.area_m2)}" if note else area(summary.area_m2)
        tiles.append(Tile(value=count(summary.instances), label=f"{_finds(summary, about)} found", note=note))
    return [*tiles, *_time_tiles(summary, about), *_cost_tiles(summary, about)]


def _finds(summary: Summary, about: About) -> str:
    return finds_of(about.task)[summary.instances != 1]


def _each(summary: Summary) -> str:
    """Of one category there is no more to say than how many an image."""
    return f"{summary.instances / summary.done:,.1f} an image" if summary.done else ""


def _time_tiles(summary: Summary, about: About) -> list[Tile]:
    if not summary.processed or not summary.wall_s:
        return []
    rate = summary.processed / summary.wall_s
    value, each = (rate, "second") if rate >= 1 else (rate * 60, "minute") if rate * 60 >= 1 else (rate * 3600, "hour")
    shown = f"{value:,.1f}" if value < 100 else count(round(value))
    machines = plural(len(summary.machines), "machine")
    label = f"{inputs_of(about.task)[1]} a {each}"
    return [Tile(value=shown, label=label, note=f"{duration(summary.wall_s)} on {machines}")]


def _cost_tiles(summary: Summary, about: About) -> list[Tile]:
    if about.cost_usd is None:
        return []
    each = f"${about.cost_usd / summary.done * 1000:,.2f} per 1,000 {inputs_of(about.task)[1]}" if summary.done else ""
    return [Tile(value=f"${about.cost_usd:,.2f}", label="machine cost", note=each)]


def _outcomes(summary: Summary, about: About) -> list[Bar]:
    parts = [
        ("something found" if summary.is_coco else "done", summary.done - summary.empty * summary.is_coco, "good"),
        ("nothing found", summary.empty * summary.is_coco, "calm"),
        ("failed", summary.failed, "bad"),
        ("cancelled", about.cancelled, "faint"),
        ("still to come", about.outstanding, "wait"),
    ]
    whole = sum(number for _, number, _ in parts)
    return [
        Bar(label=label, value=count(number), percent=_percent(number, whole), style=style)
        for label, number, style in parts
        if number
    ]


def _categories(summary: Summary) -> list[Bar]:
    ranked = sorted(summary.categories.items(), key=lambda entry: (-entry[1].instances, entry[0]))[:CATEGORY_BARS]
    most = ranked[0][1].instances if ranked else 1
    return [
        Bar(
            label=name,
            value=count(found.instances),
            percent=_percent(found.instances, most),
            style=colour(found.number),
            note=f"in {plural(found.images, 'image')}" + (f", {area(found.area_m2)}" if found.area_m2 else ""),
        )
        for name, found in ranked
    ]


def _histogram(summary: Summary) -> list[Bar]:
    """Instances by score; empty where nothing has a score."""
    most = max(summary.scores)
    if not most:
        return []
    return [
        Bar(
            label=f"{number / SCORE_BINS:.2f} to {(number + 1) / SCORE_BINS:.2f}",
            value=plural(amount, "instance"),
            percent=_percent(amount, most),
        )
        for number, amount in enumerate(summary.scores)
    ]


def _stages(summary: Summary, one: str) -> list[Bar]:
    known = [name for name in STAGES if name in summary.stages]
    names = [*known, *sorted(set(summary.stages) - set(STAGES))]
    whole = sum(summary.stages.values())
    if not whole or not summary.processed:
        return []
    return [
        Bar(
            label=name,
            value=f"{summary.stages[name] / whole:.0%}",
            percent=_percent(summary.stages[name], whole),
            style=f"s{number % PALETTE_COLOURS}",
            note=f"{milliseconds(summary.stages[name] / summary.processed)} an {one}",
        )
        for number, name in enumerate(names)
    ]


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _filters(gallery: Sequence[Card]) -> list[tuple[str, int]]:
    """Categories to filter the gallery by, with the number of its images that have them."""
    return Counter(name for card in gallery for name in card.categories).most_common(CATEGORY_FILTERS)


def _failure_groups(summary: Summary) -> list[dict[str, Any]]:
    """Failures by code, the most frequent first."""
    groups = []
    for code, number in summary.failures.most_common():
        rows = [row for row in summary.failure_rows if row.code == code]
        told = dict.fromkeys(_advice(row) for row in rows) or [advice(code)]
        groups.append({"code": code, "number": number, "advice": " ".join(told), "rows": rows})
    return groups


def _advice(card: Card) -> str:
    return advice(card.code, card.message, is_value=card.value is not None)


def _warning_groups(summary: Summary) -> list[dict[str, Any]]:
    """What has to be known of results, the most frequent first."""
    return [
        {
            "code": word,
            "number": number,
            "caveat": CAVEATS.get(word),
            "names": summary.warned[word],
            "unlisted": number - len(summary.warned[word]),
        }
        for word, number in summary.warnings.most_common()
    ]


def _facts(summary: Summary, about: About) -> list[tuple[str, str]]:
    one, many = inputs_of(about.task)

    def counted(found: Sequence[tuple[str, int]]) -> str:
        return ", ".join(f"{name} ({plural(number, one, many)})" for name, number in found)

    engine = " ".join(str(summary.engine[part]) for part in ("name", "version") if part in summary.engine)
    facts = [
        ("Project", about.title),
        ("Job" if len(about.jobs) == 1 else "Jobs, newest first", ", ".join(reversed(about.jobs[-MACHINES_SHOWN:]))),
        ("Pipeline and task", f"{about.pipeline}, {about.task}"),
        ("Engine", engine),
        ("Why this engine", str(summary.engine.get("chosen", ""))),
        ("About the engine", str(summary.engine.get("notes", ""))),
        ("Submitted by", about.submitter),
        ("Coordinate reference system", counted(_systems(summary))),
        ("Variants", counted(_variants(summary))),
        ("Machines", counted(summary.machines.most_common(MACHINES_SHOWN))),
    ]
    return [(name, value) for name, value in facts if value]


def _systems(summary: Summary) -> list[tuple[str, int]]:
    return summary.systems.most_common(SYSTEMS_SHOWN)


def _variants(summary: Summary) -> list[tuple[str, int]]:
    """How many images each variant of an endpoint did: its instances are called `<variant>/<instance>`."""
    images: Counter[str] = Counter()
    for machine, number in summary.machines.items():
        variant, slash, _ = machine.partition("/")
        if slash:
            images[variant] += number
    return images.most_common()


def _options(about: About) -> list[tuple[str, str]]:
    return [
        (name, plain(value) if value or isinstance(value, int | float) else NOTHING_GIVEN.get(name, "none"))
        for name, value in sorted(about.options.items())
    ]
