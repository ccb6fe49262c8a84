"""Which tests one worker of pytest-xdist runs, one after the other, and which of these groups begin first.

A group is a file, so that what a module sets up is set up once; the tables say where it is more or less than that.
xdist's own way to say so, its mark `xdist_group`, writes the group into the names of tests, and pytest 9.2 keeps names
where xdist 3.8 does not find them: the mark does nothing.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest

STACKS = {
    "tests/e2e/test_main_job.py": "person",
    "tests/e2e/test_drop_ins.py": "person",
    "tests/local/test_control.py": "shared",
    "tests/local/runners/sagemaker/test_runner.py": "shared",
    "tests/local/runners/sagemaker/test_autoscaler.py": "hosted",
    "tests/local/runners/sagemaker/test_endpoints.py": "hosted",
    "tests/local/runners/sagemaker/test_runtime.py": "hosted",
    "tests/local/runners/sagemaker/test_sagemaker_sdk.py": "hosted",
}
"""Files and the fixture they use that brings up a stack, or emulators with a room, for the session: one group, since
each worker has its own."""

PARTS: dict[str, int] = {}
"""Long files whose tests share nothing costly, and on how many workers they may run."""

LONGEST_FIRST = (
    "tests/e2e/",
    "tests/walks/",
    "tests/convergence/",
    "tests/local/",
    "tests/test_provision.py",
    "tests/kinds/test_endpoint_plans.py",
    "tests/cli/test_interrupt.py",
    "tests/resources/",
    "tests/gpuworker/engines/sam3/",
    "tests/gpuworker/entries/test_serve.py",
    "tests/gpuworker/entries/test_poll.py",
    "tests/plan/",
    "tests/jobs/",
    "tests/functions/",
    "tests/gpuworker/",
)
"""What begins last should be short, lest one core works on it while the others idle."""


def group_of(nodeid: str) -> str:
    path = nodeid.split("::", 1)[0]
    if path in PARTS:
        return f"{path} {zlib.crc32(nodeid.encode()) % PARTS[path]}"
    return STACKS.get(path, path)


def longest_first(nodeid: str) -> int:
    """The key of a sort."""
    return next((rank for rank, start in enumerate(LONGEST_FIRST) if nodeid.startswith(start)), len(LONGEST_FIRST))


def check_stack(item: pytest.Item) -> None:
    """Fails a test that would bring up a second stack beside the first: nothing but the clock would tell."""
    fixtures: dict[str, Any] = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    for name in {*STACKS.values()} & fixtures.keys():
        if fixtures[name][-1].scope == "session" and group_of(item.nodeid) != name:
            pytest.fail(f"uses fixture {name}: add its file to STACKS in {__file__}", pytrace=False)


def scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's own for groups, with these groups, in the order of the tests."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)
