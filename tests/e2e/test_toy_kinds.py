"""Kinds that are no product of ours, from `init` to `down`: installed beside gpupipe, known to it by name alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Person, eventually, settle, standing
from tests.toy_kinds import python_path

JPEG = b"\xff\xd8\xff\xe0"
"""`submit` looks at the first bytes of what is called .jpg, toys at the last."""


class Installer(Person):
    """Somebody with a package of kinds installed: each command is a process of its own, which finds it."""

    types = Person.runs


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())


def settled(folder: Path, kind: str) -> Installer:
    table = f"""
        [pipelines.toy]
        kind = "{kind}"
        task = "segment"
    """
    return Installer(folder=settle(folder, name="toys", pipelines=table).folder)


@pytest.fixture(params=["pushed", "staged"])
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Person]:
    with standing(settled(tmp_path, request.param)) as person:
        yield person


def files(folder: Path, **endings: bytes) -> Path:
    folder.mkdir()
    for name, ending in endings.items():
        (folder / f"{name}.jpg").write_bytes(JPEG + b" " + ending)
    return folder


def lines_of(folder: Path) -> dict[str, dict[str, object]]:
    text = (folder / "results.jsonl").read_text().splitlines()
    return {line["file_name"]: line for line in map(json.loads, text)}


def test_a_toy_kind_takes_a_job_through_its_life(owner: Person, request: pytest.FixtureRequest) -> None:
    # Given
    folder = files(owner.folder / "in", one=b"one", two=b"two two", three=b"3", four=b"4", busy=b"try again")
    print(owner.types("plan").out)

    # When
    begun = owner.types("submit", str(folder), "--project", "p", "--json").document
    view = owner.types("watch", begun["job"], "--json", code=None).document
    print(view)
    print(owner.types("watch", begun["job"], code=None))
    print(owner.types("fetch", begun["job"], code=None))
    print(lines_of(owner.folder / "results" / begun["job"]))
    print(owner.types("fetch", begun["job"], "--json", code=None))
    print(owner.types("logs", "--job", begun["job"]))
    print(owner.types("status"))
    print(owner.types("status", "--json"))
    print(owner.types("retry", begun["job"], "--failed", "--json"))
    print(owner.types("watch", begun["job"], "--json").document)
    print(owner.types("fetch", begun["job"], "--json"))
    held = owner.types("submit", str(folder), "--project", "p2", "--hold", "--json").document
    print(owner.types("watch", held["job"], "--once", code=None))
    print(owner.types("cancel", held["job"], "--json", code=None))
    print(owner.types("stop"))
    print(owner.types("start"))
    print(owner.types("status"))
