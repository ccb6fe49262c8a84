"""The page in a real browser, without network: by mouse, by keyboard, and as wide as a telephone.

Needs a Chromium or Chrome of this machine; .ci/run installs one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from tests.jobs.test_report import a_failure, a_result, written

from gpuworker.contract import Artifact

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "GPUPIPE_TEST_REQUIRES_BROWSER"
DESK, TELEPHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def without_browser(reason: str) -> NoReturn:
    """Skip, or fail where somebody has seen to it that there is one, as .ci/run does."""
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        without_browser(f"none of these is installed: {', '.join(BROWSERS)}")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to sandbox root's
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


def report(folder: Path, *, done: int, failed: int) -> Path:
    """Pictures with two things in each; every tenth has a warning."""
    import cv2

    folder.mkdir()
    picture = folder / "thumb.jpg"
    cv2.imwrite(str(picture), np.full((120, 160, 3), (40, 160, 90), np.uint8))
    thumb = Artifact(key="k", size=1, sha256="abc")
    outcomes = [
        a_result(
            f"field/tree {n:04}.jpg",
            fragment={
                "image": {"width": 640, "height": 480, **({} if n % 10 else {"warnings": ["saturated"]})},
                "annotations": [{"category_id": 1, "score": 0.9}, {"category_id": 2, "score": 0.5}],
            },
            artifacts={"thumb.jpg": thumb, "overlay.jpg": thumb},
        )
        for n in range(done)
    ]
    failures = [a_failure(f"bad/broken {n:04}.jpg", ("truncated", "timeout")[n % 2]) for n in range(failed)]
    written(folder, [*outcomes, *failures], pictures={"abc": picture})
    return folder / "report.html"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("small") / "out", done=12, failed=3)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(tmp_path_factory.mktemp("large") / "out", done=1400, failed=1000)


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody who looks at the page."""

    tab: Any
    asked_for: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        shown: list[str] = self.tab.locator(".card:visible").evaluate_all("all => all.map(one => one.dataset.name)")
        return shown

    @property
    def counted(self) -> str:
        return str(self.tab.locator("#shown").inner_text())

    @property
    def enlarged(self) -> str:
        """The name of the image that is enlarged; "" where none is."""
        return str(self.tab.locator("#viewer-name").inner_text()) if self.tab.locator("dialog[open]").count() else ""

    @property
    def focused(self) -> str:
        """The card whose picture has the focus."""
        return str(self.tab.evaluate("document.activeElement.closest('.card')?.dataset.name ?? ''"))

    def chooses(self, name: str) -> None:
        self.tab.get_by_role("button", name=name).click()


@pytest.fixture(params=[pytest.param(DESK, id="desk"), pytest.param(TELEPHONE, id="telephone")])
def visitor(browser: Any, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """After each test the page has asked for nothing beside itself, and complained of nothing."""
    context = browser.new_context(viewport=request.param, offline=True)
    visitor = Visitor(tab=context.new_page())
    visitor.tab.on("request", lambda asked: visitor.asked_for.append(asked.url))
    visitor.tab.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    visitor.tab.on("console", lambda said: visitor.complaints.append(said.text))
    yield visitor
    assert {url.partition(":")[0] for url in visitor.asked_for} <= {"file", "data"}
    assert len([url for url in visitor.asked_for if url.startswith("file:")]) == 1
    assert visitor.complaints == []
    context.close()


def test_a_click_on_a_caption_opens_what_a_click_on_its_picture_opens(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    for part in (".shot", ".name", ".chips", ".caption"):
        visitor.tab.locator(".card[data-status=done]").nth(4).locator(part).click()
        assert visitor.enlarged == "field/tree 0004.jpg"
        assert visitor.tab.locator("#viewer-image").get_attribute("src").startswith("data:image/jpeg")
        visitor.chooses("Close")
        assert visitor.enlarged == ""


def test_the_caption_of_a_failure_opens_why(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    visitor.tab.locator(".card[data-status=failed] .caption").first.click()
    assert visitor.enlarged == "bad/broken 0000.jpg"
    assert "copy it from its source again" in visitor.tab.locator("#viewer-more").inner_text()


def test_who_marks_a_name_to_copy_it_stays_on_the_page(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    box = visitor.tab.locator(".card[data-status=done] .name").first.bounding_box()
    row = box["y"] + box["height"] * 0.75
    visitor.tab.mouse.move(box["x"] + 2, row)
    visitor.tab.mouse.down()
    visitor.tab.mouse.move(box["x"] + 60, row, steps=4)
    visitor.tab.mouse.up()
    assert visitor.tab.evaluate("getSelection().toString()")
    assert visitor.enlarged == ""


def test_only_failed_shows_all_that_failed_and_nothing_else(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    visitor.chooses("only failed 3")
    assert visitor.names == [f"bad/broken {n:04}.jpg" for n in range(3)]
    assert visitor.counted == "3 of 3 failed images"
    visitor.chooses("all")
    assert len(visitor.names) == 15


def test_of_many_that_failed_it_shows_more_than_before_and_says_where_the_rest_is(
    visitor: Visitor, large: Path
) -> None:
    visitor.tab.goto(large.as_uri())
    assert len(visitor.names) == 300
    visitor.chooses("only failed 1,000")
    assert len(visitor.names) == 500
    assert visitor.counted == "500 of 1,000 failed images; failures.json names all of them"
    visitor.tab.get_by_role("searchbox").fill("0123")
    assert visitor.names == ["bad/broken 0123.jpg"]
    visitor.chooses("all")
    assert visitor.names == ["bad/broken 0123.jpg"]
    visitor.tab.get_by_role("searchbox").fill("")
    assert len(visitor.names) == 300


def test_only_with_warnings(visitor: Visitor, large: Path) -> None:
    visitor.tab.goto(large.as_uri())
    visitor.chooses("only with warnings")
    assert visitor.names
    assert all(int(name[-8:-4]) % 10 == 0 for name in visitor.names)
    assert visitor.counted.endswith(" of 140 images with warnings; annotations.json names all of them")


def test_all_of_it_by_keyboard(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    press = visitor.tab.keyboard.press
    visitor.tab.get_by_role("button", name="only failed").focus()
    press("Enter")
    assert len(visitor.names) == 3
    for _ in range(30):  # on over the other filters, to the first picture
        press("Tab")
        if visitor.focused:
            break
    press("Enter")
    assert visitor.enlarged == "bad/broken 0000.jpg"
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowLeft")
    assert visitor.enlarged == "bad/broken 0002.jpg"
    press("Escape")
    assert visitor.enlarged == ""
    # The browser gives the focus back to where it was before, and an event of its own lets the page move it on.
    is_back = "name => document.activeElement.closest('.card')?.dataset.name === name"
    visitor.tab.wait_for_function(is_back, arg="bad/broken 0002.jpg", timeout=5000)


def test_nothing_is_wider_than_the_window(visitor: Visitor, small: Path) -> None:
    visitor.tab.goto(small.as_uri())
    for name in ("only failed", "only with warnings", "all"):
        visitor.chooses(name)
        assert visitor.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.tab.locator(".card:visible .caption").first.click()
    box = visitor.tab.locator("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= visitor.tab.evaluate("innerWidth")
