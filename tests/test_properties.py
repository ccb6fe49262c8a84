"""How many examples the profiles of hypothesis try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.properties import FEWEST, examples


@pytest.fixture(autouse=True)
def same_profile() -> Iterator[None]:
    before = settings.get_current_profile_name()
    yield
    settings.load_profile(before)


def test_all_examples_in_the_exhaustive_profile() -> None:
    settings.load_profile("exhaustive")
    assert examples(150).max_examples >= 150
    assert settings.default.max_examples >= 100


def test_the_quick_profile_tries_a_share_and_always_the_same() -> None:
    settings.load_profile("quick")
    assert examples(200).max_examples == 2 * settings.default.max_examples < 100
    assert examples(1).max_examples == FEWEST
    assert examples(200).derandomize


@pytest.mark.parametrize("profile", ["quick", "exhaustive"])
def test_no_profile_asks_the_time(profile: str) -> None:
    settings.load_profile(profile)
    chosen = examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    assert chosen.deadline is None
    assert set(chosen.suppress_health_check) == {HealthCheck.too_slow, HealthCheck.function_scoped_fixture}
    assert chosen.print_blob
