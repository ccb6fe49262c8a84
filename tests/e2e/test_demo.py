"""The demo as somebody tries it who has just installed gpupipe: twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.conftest import Person

pytestmark = pytest.mark.exhaustive


def test_a_second_demo_is_as_good_as_the_first(tmp_path: Path) -> None:
    person = Person(folder=tmp_path)
    try:
        reports = [person.runs("demo", "--json").document for _ in range(2)]
    finally:
        for process in person.processes():
            process.kill()
    assert [(report["done"], report["failed"]) for report in reports] == [(9, 0), (9, 0)]
    merged = [tmp_path / report["merged"] for report in reports]
    assert merged[0] != merged[1]
    assert all(path.exists() for path in merged)
    assert person.processes() == []
