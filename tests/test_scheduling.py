"""Which tests come to one worker, and when."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.scheduling import LONGEST_FIRST, PARTS, STACKS, group_of, longest_first

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CONFTEST = """
import os, pathlib, pytest
from tests.conftest import pytest_collection_modifyitems, pytest_runtest_setup, pytest_xdist_make_scheduler

@pytest.fixture(scope="session")
def person():
    return "somebody"

def pytest_runtest_call(item):
    with pathlib.Path(os.environ["RAN"]).open("a") as ran:
        ran.write(f"{os.environ.get('PYTEST_XDIST_WORKER')} {item.nodeid}\\n")
"""
TWELVE = "import pytest\n@pytest.mark.parametrize('n', range(12))\ndef test_it(n): pass\n"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite of its own with our hooks."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  property: by hypothesis\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAN", str(pytester.path / "ran"))
    return pytester


def write(suite: pytest.Pytester, path: str, body: str) -> None:
    file = suite.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body)


def ran(suite: pytest.Pytester) -> dict[str, list[str]]:
    """The tests of each worker, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (suite.path / "ran").read_text().splitlines():
        worker, nodeid = line.split(" ")
        found[worker].append(nodeid)
    return found


@pytest.mark.parametrize("path", [*STACKS, *PARTS])
def test_the_tables_name_files_that_there_are(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("start", LONGEST_FIRST)
def test_the_order_names_what_there_is(start: str) -> None:
    assert (ROOT / start).exists()


def test_a_file_is_a_group() -> None:
    assert group_of("tests/a/test_a.py::TestA::test_a[x::y]") == "tests/a/test_a.py"


def test_files_with_one_stack_are_a_group() -> None:
    groups = {group_of(f"{path}::test_it") for path, fixture in STACKS.items() if fixture == "person"}
    assert groups == {"person"}


def test_a_long_file_is_so_many_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "tests/test_long.py", 3)
    assert len({group_of(f"tests/test_long.py::test_it[{number}]") for number in range(100)}) == 3


def test_the_longest_begin_first_and_the_rest_stays_in_order() -> None:
    paths = ["tests/test_names.py", "tests/tasks/test_boxes.py", "tests/jobs/test_flow.py", "tests/e2e/test_demo.py"]
    assert sorted(paths, key=longest_first) == [paths[3], paths[2], paths[0], paths[1]]


def test_groups_stay_together_and_begin_in_order(suite: pytest.Pytester) -> None:
    # given two files that use one stack, and three that begin before them or after
    stacked = [path for path, fixture in STACKS.items() if fixture == "person"]
    for path in stacked:
        write(suite, path, "def test_stack(person): pass\n" + TWELVE)
    for path in ("tests/a/test_a.py", "tests/b/test_b.py", "tests/jobs/test_jobs.py"):
        write(suite, path, TWELVE)
    # when they run
    options = ("-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup", "--import-mode=importlib")
    assert suite.runpytest_subprocess(*options, "tests", timeout=120).ret == 0
    workers = ran(suite)
    # then every test has run once, each group on one worker
    every = [nodeid for tests in workers.values() for nodeid in tests]
    assert len(every) == len({*every}) == 12 * 5 + len(stacked)
    groups = [{group_of(nodeid) for nodeid in tests} for tests in workers.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 4
    # and those that take longest have begun first
    assert {group_of(tests[0]) for tests in workers.values()} == {"person", "tests/jobs/test_jobs.py"}


def test_a_stack_in_a_file_that_the_table_lacks_is_an_error(suite: pytest.Pytester) -> None:
    write(suite, "tests/test_new.py", "def test_stack(person): pass\n")
    result = suite.runpytest_inprocess("tests")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*uses fixture person: add its file to STACKS*"])


def test_the_marks_choose_the_tier(suite: pytest.Pytester) -> None:
    body = "from hypothesis import given, strategies as st\n"
    body += "@given(st.integers())\ndef test_property(n): pass\ndef test_plain(): pass\n"
    write(suite, "tests/test_tiers.py", body)
    suite.runpytest_inprocess("-m", "property", "tests").assert_outcomes(passed=1, deselected=1)
    assert list(ran(suite).values()) == [["tests/test_tiers.py::test_property"]]
