"""The page: complete in itself, nothing in it runs or loads but its own, and it shows what a person looks for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.finished_work import NOW, a_header

from gpupipe.jobs.report import About, Summary, write_report
from gpupipe.jobs.report.summary import FAILURE_ROWS, GALLERY_FAILURES, GALLERY_IMAGES
from gpupipe.jobs.report.words import area, duration, plural
from gpupipe.jobs.results import Commit, Outcome
from gpuworker.contract import CAVEATS, Artifact, Failure, ItemResult

ABOUT = About(
    title="field7",
    jobs=["20261121-113052-field7-1f3a"],
    pipeline="segment",
    task="segment",
    state="finished",
    is_complete=True,
    created_at=NOW,
    options={"prompts": ["tree"], "overlays": True, "max_bytes": 2_000_000},
    notice="It knows 80 things.",
)
COMMIT = Commit(
    job="j1",
    number=0,
    generation=0,
    machine="i-1",
    engine={"name": "nanodet", "version": "7", "notes": "small"},
    header=a_header(),
    started_at=NOW - 90,
    finished_at=NOW,
    timings={"infer": 3.0, "decode": 1.0, "wall": 90.0},
    items=4,
)


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += f" {data}"

    def all(self, tag: str, cls: str = "") -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag and cls in ("", attrs.get("class", ""))]


def a_result(path: str, *scores: float, **changes: Any) -> Outcome:
    annotations = [{"category_id": 1 + n % 2, "score": score} for n, score in enumerate(scores)]
    fields: dict[str, Any] = {
        "output": path,
        "key": f"inputs/field7/{path}",
        "etag": "e",
        "artifacts": {"overlay.jpg": Artifact(key="o", size=1, sha256="0")},
        "fragment": {"image": {"width": 640, "height": 480}, "annotations": annotations},
    }
    return Outcome(commit=COMMIT, result=ItemResult(**{**fields, **changes}))


def a_failure(path: str, code: str = "truncated", message: str = "it ends early") -> Outcome:
    failure = Failure(output=path, key=f"inputs/field7/{path}", etag="e", code=code, message=message)
    return Outcome(commit=COMMIT, failure=failure)


def summary_of(outcomes: Sequence[Outcome], commits: Sequence[Commit] = (COMMIT,)) -> Summary:
    summary = Summary()
    for commit in commits if outcomes else ():
        summary.add_commit(commit)
    for outcome in outcomes:
        summary.add(outcome, f"items/{outcome.output}")
    return summary


def written(
    folder: Path,
    outcomes: Sequence[Outcome],
    about: About = ABOUT,
    pictures: dict[str, Path] | None = None,
    commits: Sequence[Commit] = (COMMIT,),
) -> tuple[str, Page]:
    summary = summary_of(outcomes, commits)
    write_report(folder / "report.html", summary, about, gallery=summary.gallery(), pictures=pictures or {})
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


# --- what it may do ---


def test_the_page_loads_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    text, page = written(tmp_path, [a_result("a.jpg", 0.9), a_failure("b.jpg")])
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "form", "base")
        assert "style" not in attributes, "the policy refuses inline styles"
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>.jpg",
        '"><img src=x onerror=alert(1)>.jpg',
        "' onmouseover='alert(1).jpg",
        "{{ 7 * 7 }}.jpg",
        "</title></style></script>.jpg",
        "a&lt;b&copy;.jpg",
    ],
)
def test_names_messages_and_titles_are_shown_never_interpreted(tmp_path: Path, hostile: str) -> None:
    header = a_header([hostile, hostile + "2"])
    found = replace(a_result(hostile, 0.9, 0.8), commit=replace(COMMIT, header=header, machine=hostile))
    _, plain = written(tmp_path, [a_result("x/x.jpg", 0.9, 0.8), a_failure("y.jpg")])
    about = replace(ABOUT, title=hostile, notice=hostile, jobs=[hostile], options={"prompts": [hostile]})
    text, page = written(tmp_path, [found, a_failure("b" + hostile, message=hostile)], about)
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    for tag in ("script", "style", "img"):
        assert len(page.all(tag)) == 1
    assert page.text.count(hostile) >= 8
    assert "49.jpg" not in text
    assert {card["data-name"] for card in page.all("li", "card")} == {hostile, "b" + hostile}
    categories = [json.loads(card["data-categories"]) for card in page.all("li", "card")]
    assert [hostile, hostile + "2"] in categories


def test_a_report_costs_no_import_until_it_is_written() -> None:
    script = (
        "import sys, gpupipe.jobs.fetch; print([name for name in ('jinja2', 'cv2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- what it shows ---


def test_it_tells_job_counts_engine_and_what_to_do(tmp_path: Path) -> None:
    outcomes = [a_result("deep/a.jpg", 0.9, 0.5), a_result("b.jpg"), a_failure("c.jpg")]
    _, page = written(tmp_path, outcomes, replace(ABOUT, cost_usd=0.5))
    text = " ".join(page.text.split())
    for words in (
        "field7",
        "20261121-113052-field7-1f3a",
        "It knows 80 things.",
        "nanodet 7",
        "2 images done of 3",
        "1 failed",
        "2 things found of 2 categories",
        "images a minute 1 min 30 s on 1 machine",
        "$0.50",
        "infer 75%",
        "decode 25%",
        "truncated",
        "copy it from its source again",
        "nothing found",
        "max_bytes 2,000,000",
    ):
        assert words in text, words


def test_rooms_are_called_rooms_and_variants_are_compared(tmp_path: Path) -> None:
    # given plans that an endpoint's two variants worked on
    commits = [replace(COMMIT, machine=f"{variant}/i-{n}", items=n) for n, variant in enumerate(("main", "next"), 1)]
    annotations = [{"category_id": 1, "score": score} for score in (0.9, 0.5)]
    plan = a_result("plan.png", fragment={"image": {"width": 640, "height": 480}, "annotations": annotations})
    outcomes = [replace(plan, commit=replace(COMMIT, header=a_header(["room"])))]
    about = replace(ABOUT, pipeline="rooms", task="detect-rooms", notice="")
    _, page = written(tmp_path, outcomes, about, commits=commits)
    text = " ".join(page.text.split())
    for words in ("2 rooms found 2.0 an image", "Variants next (2 images), main (1 image)", "rooms, detect-rooms"):
        assert words in text, words
    # and a pipeline of machines has no variants
    _, page = written(tmp_path, [a_result("a.jpg")], ABOUT)
    assert "Variants" not in page.text


def test_every_picture_has_words_and_links_lead_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "t.jpg").write_bytes(b"\xff\xd8 jpeg")
    thumb = Artifact(key="k", size=7, sha256="abc")
    shown = a_result("deep/a b.jpg", 0.9, 0.5, 0.4, artifacts={"thumb.jpg": thumb, "overlay.jpg": thumb})
    _, page = written(tmp_path, [shown], pictures={"abc": tmp_path / "t.jpg"})
    (image, _) = page.all("img")
    assert image["src"] == "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8 jpeg").decode()
    assert image["alt"] == "deep/a b.jpg: 2 tree, 1 car"
    assert "items/deep/a%20b.jpg/overlay.jpg" in [link["href"] for link in page.all("a")]


def test_of_a_file_of_several_pages_it_says_so_and_links_to_each(tmp_path: Path) -> None:
    """What was found is counted on all pages, and only the first has its picture here."""
    overlay = Artifact(key="k", size=7, sha256="abc")
    first, second, third = (
        {"image": {"width": 64, "height": 48, "page": page}, "annotations": [{"category_id": 1, "score": 0.9}]}
        for page in (1, 3, 4)
    )
    shown = a_result(
        "stack.tif",
        fragment={**first, "more": [second, third]},
        artifacts={"overlay.jpg": overlay, "pages/2/overlay.jpg": overlay, "pages/3/overlay.jpg": overlay},
    )
    _, page = written(tmp_path, [shown])
    assert "on 3 pages; the first is shown" in page.text
    links = [link["href"] for link in page.all("a") if "overlay" in link["href"]]
    assert links == [f"items/stack.tif/{place}overlay.jpg" for place in ("", "pages/2/", "pages/3/")]
    assert "Page 3" in page.text
    _, page = written(tmp_path, [a_result("a.jpg", 0.9)])
    assert "pages; the first" not in page.text


def test_a_lost_picture_leaves_a_sign(tmp_path: Path) -> None:
    thumb = Artifact(key="k", size=7, sha256="abc")
    _, page = written(tmp_path, [a_result("a.jpg", 0.9, artifacts={"thumb.jpg": thumb})])
    assert "no thumbnail" in page.text


@pytest.mark.parametrize(
    ("outcomes", "about", "words"),
    [
        pytest.param([], replace(ABOUT, is_complete=False, outstanding=5), "The job is not finished", id="nothing yet"),
        pytest.param([], ABOUT, "There is no result yet", id="nothing at all"),
        pytest.param([a_failure("a.jpg"), a_failure("b.jpg", "empty")], ABOUT, "2 failed", id="all failed"),
        pytest.param([a_result("a.jpg", 0.5)], ABOUT, "all of them", id="one image"),
        pytest.param([a_result("a.jpg")], replace(ABOUT, cancelled=3), "3 cancelled", id="cancelled"),
        pytest.param([a_result("a.jpg")], replace(ABOUT, is_project=True), "over 1 job", id="a project"),
    ],
)
def test_unusual_jobs_have_a_page_too(tmp_path: Path, outcomes: list[Outcome], about: About, words: str) -> None:
    _, page = written(tmp_path, outcomes, about)
    assert words in " ".join(page.text.split())


def test_results_that_are_not_pictures_have_a_page_too(tmp_path: Path) -> None:
    outcome = replace(a_result("a.jpg", fragment={"verdict": "fits"}), commit=replace(COMMIT, header={}))
    _, page = written(tmp_path, [outcome])
    assert "1 images done" in " ".join(page.text.split())
    assert "things found" not in page.text
    assert "results.jsonl" in page.text


# --- which images ---


def test_the_gallery_shows_failures_then_the_least_certain_then_a_sample() -> None:
    sure = [a_result(f"sure{n:04}.jpg", 0.99) for n in range(2000)]
    unsure = [a_result(f"unsure{n}.jpg", 0.41 + n / 1000) for n in range(5)]
    empty = [a_result(f"empty{n}.jpg") for n in range(3)]
    failures = [a_failure(f"bad{n}.jpg") for n in range(2)]
    gallery = summary_of([*sure, *empty, *unsure, *failures]).gallery()
    assert len(gallery) == GALLERY_IMAGES
    assert [card.file_name for card in gallery[:7]] == ["bad0.jpg", "bad1.jpg", *(f"unsure{n}.jpg" for n in range(5))]
    assert len({card.file_name for card in gallery}) == GALLERY_IMAGES


def test_the_choice_does_not_depend_on_the_order_of_arrival() -> None:
    results = [a_result(f"{n}.jpg", 0.4 + (n * 37 % 500) / 1000) for n in range(1500)]
    assert summary_of(results).gallery() == summary_of(results[::-1]).gallery()


def test_a_small_job_is_shown_whole() -> None:
    outcomes = [a_result("a.jpg", 0.5), a_result("b.jpg"), a_failure("c.jpg")]
    assert {card.file_name for card in summary_of(outcomes).gallery()} == {"a.jpg", "b.jpg", "c.jpg"}


def test_failures_by_time_name_the_setting_that_applied_on_the_card_and_in_the_list(tmp_path: Path) -> None:
    message = "took longer than 450 s; invocation_timeout_s raises the limit"
    text, _ = written(tmp_path, [a_failure("slow.jpg", "timeout", message), a_failure("cut.jpg")])
    assert text.count("invocation_timeout_s of the endpoint, its seconds for a request, was over") == 2


def test_many_failures_leave_room_for_images_and_wait_for_who_asks_for_only_them(tmp_path: Path) -> None:
    outcomes = [*(a_failure(f"{n}.jpg") for n in range(1000)), *(a_result(f"ok{n}.jpg", 0.9) for n in range(400))]
    _, page = written(tmp_path, outcomes)
    at_once = [card["data-status"] for card in page.all("li", "card") if "hidden" not in card]
    assert (at_once.count("failed"), at_once.count("done")) == (GALLERY_FAILURES, GALLERY_IMAGES - GALLERY_FAILURES)
    waiting = [card for card in page.all("li", "card") if "hidden" in card]
    assert {card["data-status"] for card in waiting} == {"failed"}
    assert len(waiting) == FAILURE_ROWS - GALLERY_FAILURES
    (button,) = [one for one in page.all("button", "filter") if one.get("data-status") == "failed"]
    assert (button["data-of"], button["data-rest"]) == ("1,000 failed images", "failures.json names all of them")
    assert f"{1000 - FAILURE_ROWS} more are in failures.json" in page.text


def test_images_with_warnings_are_in_the_gallery_of_any_job(tmp_path: Path) -> None:
    # given a few warnings among many images, and their names last of all
    outcomes = [
        *(a_result(f"{n}.jpg") for n in range(900)),
        *(on_the_map(f"z{n}.tif", warnings=["x"]) for n in range(5)),
    ]
    _, page = written(tmp_path, outcomes)
    warned = {card["data-name"] for card in page.all("li", "card") if "data-warned" in card}
    assert warned == {f"z{n}.tif" for n in range(5)}
    (button,) = [one for one in page.all("button", "filter") if "data-warned" in one]
    assert button["data-of"] == "5 images with warnings"
    assert "data-rest" not in button


def test_where_nothing_failed_or_is_warned_of_nothing_asks_for_it(tmp_path: Path) -> None:
    _, page = written(tmp_path, [a_result("a.jpg", 0.9)])
    asks = {name for button in page.all("button", "filter") for name in button}
    assert asks.isdisjoint({"data-status", "data-warned"})


def test_memory_holds_the_chosen_ones_only() -> None:
    summary = Summary()
    summary.add_commit(COMMIT)
    for number in range(20_000):
        summary.add(a_result(f"{number}.jpg", 0.5), "items")
    assert summary.done == 20_000
    assert len(summary.gallery()) == GALLERY_IMAGES
    held = (summary._sample, summary._uncertain, summary._with_warnings)
    assert sum(map(len, held)) <= 2 * GALLERY_IMAGES


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (48, "48 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (59.7, "1 min 00 s")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_is_one() -> None:
    assert (plural(1, "image"), plural(1204, "image"), plural(2, "category", "categories")) == (
        "1 image",
        "1,204 images",
        "2 categories",
    )


def on_the_map(path: str, *areas: float, warnings: Sequence[str] = ()) -> Outcome:
    annotations = [{"category_id": 1 + n % 2, "score": 0.9, "area_m2": one} for n, one in enumerate(areas)]
    image = {"width": 640, "height": 480, "crs": "EPSG:32617", **({"warnings": warnings} if warnings else {})}
    return a_result(path, fragment={"image": image, "annotations": annotations})


def test_areas_and_the_reference_system_are_told(tmp_path: Path) -> None:
    _, page = written(tmp_path, [on_the_map("a.tif", 1.5, 2.25), on_the_map("b.tif", 12_000.0)])
    for told in ("1.20 ha", "3.75 m² found", "EPSG:32617 (2 images)", "instances.geojson"):
        assert told in page.text
    assert any("in 1 image, 2.25 m²" in title.get("title", "") for title in page.all("th"))


def test_photographs_have_no_areas(tmp_path: Path) -> None:
    _, page = written(tmp_path, [a_result("a.jpg", 0.9)])
    assert "m²" not in page.text
    assert "instances.geojson" not in page.text
    assert "Warnings" not in page.text


def test_warnings_are_told_in_words_with_what_to_do(tmp_path: Path) -> None:
    outcomes = [on_the_map(f"{n:02}.tif", 1.0, warnings=["saturated"]) for n in range(60)]
    _, page = written(tmp_path, [*outcomes, on_the_map("odd.tif", 1.0, warnings=["a_word_of_the_future"])])
    for told in ("saturated", "60 images", CAVEATS["saturated"].meaning, CAVEATS["saturated"].advice, "and 10 more"):
        assert told in page.text
    assert "a_word_of_the_future" in page.text


def test_an_image_without_finds_says_why(tmp_path: Path) -> None:
    image = {
        "width": 600,
        "height": 400,
        "warnings": ["no_rooms"],
        "reason": "There is no ink.",
        "hint": "Set polarity.",
    }
    _, page = written(tmp_path, [a_result("plan.png", fragment={"image": image, "annotations": []})])
    for told in ("There is no ink. Set polarity.", "no_rooms", CAVEATS["no_rooms"].meaning):
        assert told in page.text


@pytest.mark.parametrize(
    ("square_metres", "told"),
    [(0.00381, "38.1 cm²"), (4.2, "4.2 m²"), (1204.4, "1,204 m²"), (31_000, "3.10 ha"), (12_345_678, "1,234.57 ha")],
)
def test_areas_are_told_in_units_that_people_use(square_metres: float, told: str) -> None:
    assert area(square_metres) == told


def test_a_crowded_image_says_how_much_was_found_of_each(tmp_path: Path) -> None:
    _, page = written(tmp_path, [a_result("dense.jpg", *[0.9] * 300)])
    assert page.text.count("×150") == 2
    assert any("150 car, 150 tree" in button.get("aria-label", "") for button in page.all("button"))


def test_options_that_were_not_given_say_what_that_means(tmp_path: Path) -> None:
    options = {"prompts": [], "negative_prompts": [], "bands": [], "prompt_thresholds": {}, "overlays": False, "n": 0}
    _, page = written(tmp_path, [a_result("a.jpg")], replace(ABOUT, options=options))
    told = " ".join(page.text.split())
    for words in ("prompts all", "negative_prompts none", "bands the first three", "prompt_thresholds none"):
        assert words in told
    assert "overlays no" in told
    assert "n 0" in told
