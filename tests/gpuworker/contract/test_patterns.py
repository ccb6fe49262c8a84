"""Patterns of project names: which of them counts for a project, and whether two have one in common."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuworker.contract import common_project, is_pattern, is_project_name, pattern_for

NAMES = ["".join(letters) for length in range(1, 6) for letters in itertools.product("xa.", repeat=length)]
"""All short names of some letters, "x" among them, which stands where patterns leave a character open."""

_PATTERNS = st.text("xa.*?", min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("project", "counts"),
    [
        ("field7", "field7"),
        ("field70", "field7?"),
        ("field8", "field*"),
        ("farm", "f*"),
        ("yard", None),
        ("Field7", None),
    ],
)
def test_a_projects_own_name_counts_before_the_longest_pattern(project: str, counts: str | None) -> None:
    patterns = ["f*", "field*", "field7?", "field7", "fiel*7"]
    assert pattern_for(patterns, project) == counts
    assert pattern_for(reversed(patterns), project) == counts


@pytest.mark.parametrize(("name", "several"), [("field7", False), ("field*", True), ("fiel?7", True)])
def test_a_pattern_may_stand_for_several(name: str, several: bool) -> None:
    assert is_pattern(name) is several


@pytest.mark.parametrize(
    ("one", "other", "project"),
    [
        ("field*", "*ield7", "field7"),
        ("a*", "*b", "ab"),
        ("field*", "farm*", None),
        ("Field*", "field*", None),
        ("fiel?7", "field?", "field7"),
        ("x" * 32 + "*", "*" + "y" * 32, "x" * 32 + "y" * 32),
        ("x" * 33 + "*", "*" + "y" * 33, None),  # no project's name is so long
    ],
)
def test_two_patterns_and_the_shortest_project_of_both(one: str, other: str, project: str | None) -> None:
    assert common_project(one, other) == common_project(other, one) == project


@pytest.mark.parametrize("pattern", ["*" * 100_000, "*x" * 64 + "*", "x" * 64, ".*"])
def test_however_long_it_is_a_pattern_that_a_project_matches_is_one(pattern: str) -> None:
    assert common_project(pattern) is not None
    assert common_project(pattern, pattern) == common_project(pattern)


@pytest.mark.parametrize(
    "pattern", ["x*" * 100_000, "", "a b", "field/", "ä*", "x" * 65, "x*" * 65, "?" * 65, "..", ".", "field[0-9]"]
)
def test_some_patterns_are_no_projects(pattern: str) -> None:
    assert common_project(pattern) is None


@given(_PATTERNS, _PATTERNS)
def test_there_is_one_exactly_where_trying_all_names_finds_one(one: str, other: str) -> None:
    found = common_project(one, other)
    tried = [name for name in NAMES if is_project_name(name) and fnmatchcase(name, one) and fnmatchcase(name, other)]
    assert (found is None) <= (not tried)
    if found is not None:
        assert is_project_name(found)
        assert fnmatchcase(found, one)
        assert fnmatchcase(found, other)
        assert all(len(found) <= len(name) for name in tried)
