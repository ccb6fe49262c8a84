"""A page in the person's own browser, or the word that there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpupipe.cli import browser

SCREENS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page on a machine without a screen."""
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "a report.html"


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_without_a_screen_nothing_is_started(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "xdg-open", f"touch {tmp_path}/started")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert not browser.show(page)
    assert not (tmp_path / "started").exists()
    monkeypatch.setenv("DISPLAY", ":0")
    assert browser.show(page)
    assert (tmp_path / "started").exists()


def test_the_persons_own_browser_gets_the_address(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path / "bin", "mine", f'echo "$@" > {tmp_path}/shown; echo chatter; echo chatter >&2')
    for given in (str(mine), f"{mine} %s", f"/nowhere/browser:{mine}"):
        monkeypatch.setenv("BROWSER", given)
        assert browser.show(page)
        assert (tmp_path / "shown").read_text().strip() == page.as_uri()


def test_what_it_says_is_on_no_stream_of_ours(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROWSER", str(program(tmp_path / "bin", "mine", "echo chatter; echo chatter >&2")))
    assert browser.show(page)
    assert capfd.readouterr() == ("", "")


def test_a_desktop_without_a_browser_is_no_success(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "xdg-open", "exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    assert not browser.show(page)


def test_a_browser_that_stays_is_not_waited_for(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", str(program(tmp_path / "bin", "mine", "exec sleep 3")))
    assert browser.show(page, settles_s=0.05)
