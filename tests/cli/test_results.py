"""What `fetch` says at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from gpupipe.cli.results import finish
from gpupipe.cli.screen import Screen
from gpupipe.jobs.fetch import FetchReport


def report(**changes: Any) -> FetchReport:
    folder = Path("results/j1")
    fields: dict[str, Any] = {
        "folder": folder,
        "report": folder / "report.html",
        "merged": folder / "annotations.json",
        "layer": None,
        "layer_note": "",
        "task": "segment",
        "warnings": {},
        "failures": folder / "failures.json",
        "failed_by": {},
        "jobs": ["j1"],
        "is_complete": True,
        "items": 3,
        "done": 3,
        "failed": 0,
        "cancelled": 0,
        "outstanding": 0,
        "annotations": 12,
        "area_m2": None,
        "files_fetched": 9,
        "files_kept": 0,
        "bytes_fetched": 1_000_000,
    }
    return FetchReport(**fields | changes)


def told(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    finish(report(**changes), Screen(), open_=False)
    return capsys.readouterr().out


def test_photographs_have_no_map_and_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys)
    assert "COCO:     results/j1/annotations.json" in out
    assert "map:" not in out
    assert "warning:" not in out


def test_the_map_layer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "map:      results/j1/instances.geojson" in told(capsys, layer=Path("results/j1/instances.geojson"))


def test_what_is_not_in_the_map_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    layer = Path("results/j1/instances.geojson")
    assert "instances.geojson (without 1 of 2 images" in told(capsys, layer=layer, layer_note="without 1 of 2 images")


def test_how_much_of_the_map_was_found_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "12 annotations (1,234.5 m²)" in told(capsys, area_m2=1234.5)
    assert "m²" not in told(capsys)


def test_why_there_is_no_layer_of_all_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "map:      one instances.geojson an image" in told(capsys, layer_note="one instances.geojson an image")


def test_warnings_come_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, warnings={"saturated": 2, "no_crs": 1})
    assert "warning:  2 images (saturated): " in out
    assert "warning:  1 image (no_crs): " in out
    assert "tile_size" in out


def test_programs_get_words_and_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    finish(report(warnings={"saturated": 2}, layer=Path("x/instances.geojson")), Screen(as_json=True), open_=False)
    document = json.loads(capsys.readouterr().out)
    assert document["warnings"] == {"saturated": 2}
    assert document["layer"] == "x/instances.geojson"


def test_why_images_failed_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        finish(report(done=1, failed=3, failed_by={"truncated": 2, "timeout": 1}), Screen(), open_=False)
    out = capsys.readouterr().out
    assert "failed:   2 images (truncated): The file ends early" in out
    assert "failed:   1 image (timeout): " in out
    assert "failures: results/j1/failures.json" in out
