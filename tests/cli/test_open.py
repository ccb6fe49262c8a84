"""`gpupipe open` typed as a command: no account, no configuration, and a word where there is no browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Types
from tests.jobs.test_places import OLD, fetched


@pytest.fixture
def shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the person's browser notes what it shows."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    browser = folder / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{folder}/shown"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    return folder / "shown"


def test_without_a_configuration_it_shows_what_was_fetched(types: Types, folder: Path, shown: Path) -> None:
    report = fetched(folder / "out", project="field7") / "report.html"
    typed = types("open")
    assert (typed.code, typed.out, typed.err) == (0, f"{report}\n", "project field7\n")
    assert shown.read_text().strip() == report.as_uri()


def test_a_configuration_that_is_broken_does_not_matter(types: Types, folder: Path, shown: Path) -> None:
    fetched(folder / "results" / OLD, job=OLD)
    (folder / "gpupipe.toml").write_text("no TOML")
    assert types("open", OLD[:10]).code == 0


def test_programs_get_what_the_folder_holds(types: Types, folder: Path, shown: Path) -> None:
    fetched(folder / "out", job=OLD)
    assert types("open", "-o", "out", "--json").document == {
        "job": OLD,
        "stack": "field-dev",
        "account": "1",
        "pipeline": "segment",
        "folder": str(folder / "out"),
        "report": str(folder / "out" / "report.html"),
        "opened": True,
    }


def test_without_a_browser_the_path_is_told(
    types: Types, folder: Path, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = fetched(folder / "out", job=OLD) / "report.html"
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    typed = types("open")
    assert (typed.code, typed.out) == (0, f"{report}\n")
    assert f"no browser could be started here; open it yourself: {report.as_uri()}" in typed.err
    assert types("open", "--json").document["opened"] is False


def test_where_nothing_was_fetched_it_says_what_to_do(types: Types, folder: Path, shown: Path) -> None:
    typed = types("open", "--json")
    assert typed.code == 1
    assert "gpupipe fetch --open" in typed.document["error"]["hint"]
    assert types("open", OLD).code == 1
    assert types("open", "-o", "nowhere").code == 2


def test_results_from_elsewhere_are_said_to_be(
    types: Types, folder: Path, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given results that were fetched in another folder
    (folder / "elsewhere").mkdir()
    fetched(folder / "elsewhere" / "far" / "out", job=OLD)
    note = folder / "state" / "gpupipe" / "fetched" / "1.json"
    note.parent.mkdir(parents=True)
    note.write_text(f'{{"folder": "{folder}/elsewhere/far/out", "from": "{folder}/elsewhere"}}')
    # when
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    typed = types("open")
    # then
    assert typed.code == 0
    assert "nothing of it was fetched from this folder" in typed.err
    assert f"job {OLD}" in typed.err
