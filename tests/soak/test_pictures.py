"""As many plants are found as were planted: what the counts of a storm are held against."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from tests.soak.pictures import ROWS, plant

from gpuworker.engines.vegetation import plants_in


@pytest.mark.parametrize("seed", [0, 7])
def test_the_engine_finds_exactly_what_was_planted(tmp_path: Path, seed: int) -> None:
    planted = plant(tmp_path, 25, seed=seed)
    found = {path.name: len(list(plants_in(cv2.imread(str(path))[..., ::-1]))) for path in tmp_path.iterdir()}
    assert found == planted
    assert set(planted.values()) <= set(range(1, ROWS**2 + 1))


def test_a_seed_says_what_is_planted_and_all_pictures_differ(tmp_path: Path) -> None:
    assert plant(tmp_path / "a", 9, seed=3) == plant(tmp_path / "b", 9, seed=3)
    contents = [{path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 9
