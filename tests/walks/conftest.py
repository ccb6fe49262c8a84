"""Somebody without a configuration, without credentials and without a screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Person
from tests.walks.transcript import Walk


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    """Begins in an empty folder; what was started there ends with the test."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "GPUPIPE_CONFIG", "GPUPIPE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    person = Person(folder=tmp_path / "work")
    person.folder.mkdir()
    yield Walk(person=person)
    if (person.folder / "gpupipe.toml").exists() and (person.folder / ".gpupipe").exists():
        person.types("down", "--yes", code=None)
    for process in person.processes():
        process.kill()
