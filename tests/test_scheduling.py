"""Which tests come to one worker, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.scheduling import LONGEST_FIRST, PARTS, STACKS, group_of, longest_first, scheduler

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CONFTEST = """
import pytest
from tests.conftest import pytest_collection_modifyitems, pytest_runtest_setup

@pytest.fixture(scope="session")
def person():
    return "somebody"
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite of its own with our hooks."""
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n  property: by hypothesis\n")
    return pytester


def write(suite: pytest.Pytester, path: str, body: str) -> None:
    file = suite.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body)


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


@dataclass(eq=False)
class Worker:
    """What the scheduler knows of a worker of xdist: it runs what it is sent, by number, and is told to end."""

    gateway: SimpleNamespace
    sent: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.sent += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def test_groups_stay_together_and_begin_in_the_order_of_the_tests(pytester: pytest.Pytester) -> None:
    # given two files that use one stack, with others between them and after, and two workers
    stacked = [path for path, fixture in STACKS.items() if fixture == "person"]
    paths = [stacked[0], "tests/test_a.py", stacked[1], "tests/test_b.py", "tests/test_c.py"]
    nodeids = [f"{path}::test_it[{number}]" for path in paths for number in range(12)]
    scheduling = scheduler(pytester.parseconfig("--tx", "2*popen", "--dist", "loadgroup"), None)
    workers = [Worker(SimpleNamespace(id=name)) for name in ("gw0", "gw1")]
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, nodeids)
    # when they run, the second worker twice as fast as the first
    scheduling.schedule()
    done = {id(worker): 0 for worker in workers}
    while any(done[id(worker)] < len(worker.sent) for worker in workers):
        for worker in (workers[0], workers[1], workers[1]):
            if done[id(worker)] < len(worker.sent):
                scheduling.mark_test_complete(worker, worker.sent[done[id(worker)]])
                done[id(worker)] += 1
    # then every test has run once, each group on one worker, the first in the list first
    assert sorted(workers[0].sent + workers[1].sent) == list(range(len(nodeids)))
    groups = [list(dict.fromkeys(group_of(nodeids[number]) for number in worker.sent)) for worker in workers]
    assert groups == [["person"], ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]]
    assert all(worker.shutting_down for worker in workers)


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
    suite.runpytest_inprocess("-m", "not property", "tests").assert_outcomes(passed=1, deselected=1)
