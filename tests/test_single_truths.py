"""What three places that ship apart must agree on stands in one file of code, so that it cannot drift apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = "worker_image/gpuworker/contract/"
LEDGER = "worker_image/gpuworker/ledger/"


@cache
def sources() -> dict[str, ast.Module]:
    """The code that ships, by its path in the repository."""
    files = (path for folder in ("src", "worker_image") for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in files}


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a file: docstrings too, which hold more than a name, and the parts of f-strings."""
    yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def naming(pattern: str) -> set[str]:
    """The files in which a whole text of code is one that `pattern` describes."""
    return {path for path, tree in sources().items() if any(re.fullmatch(pattern, text) for text in texts(tree))}


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        (r"gpupipe:[a-z]*", {f"{CONTRACT}tags.py"}),
        ("GPUPIPE_(WORKER_CONFIG|WORK_DIR|MODEL_DIR|MACHINE|BIND_HOST|CALLER_TOKEN)", {f"{CONTRACT}environment.py"}),
        (r"\[0-9a-f\]\{40\}|\[A-Za-z0-9\].*/\[A-Za-z0-9\].*", {f"{CONTRACT}weights.py"}),
        (".*/retries/", {f"{CONTRACT}keys.py"}),
        ("Error|HTTPStatusCode", {f"{CONTRACT}service_errors.py"}),
        ("PreconditionFailed|ConditionalRequestConflict", {f"{CONTRACT}service_errors.py"}),
        ("ApproximateNumberOfMessages", {"src/gpupipe/functions/queue_transport.py"}),
    ],
    ids=[
        "tags",
        "environment",
        "weights",
        "retries",
        "botocore's errors",
        "conditional writes",
        "messages of a queue",
    ],
)
def test_a_name_that_several_places_use_stands_once(pattern: str, where: set[str]) -> None:
    assert naming(pattern) == where


def test_where_a_name_stands_twice_it_is_found() -> None:
    # given what the guard's file had once beside the contract's
    again = ast.parse('TAG_STACK = "gpupipe:stack"')
    assert [text for text in texts(again) if re.fullmatch(r"gpupipe:[a-z]*", text)] == ["gpupipe:stack"]


def test_a_shard_is_done_or_dead_by_the_ledger_alone() -> None:
    # given that a row says so by these two states; whoever only looks compares with them
    written = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        and any(isinstance(one, ast.Attribute) and one.attr in ("DONE", "DEAD") for one in node.values)
    }
    assert written == {f"{LEDGER}shards.py", f"{LEDGER}jobs.py"}


def test_a_jobs_first_row_is_made_of_its_document_in_the_ledger_alone() -> None:
    makers = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "JobRecord"
    }
    assert makers == {f"{LEDGER}jobs.py"}


def test_a_daemon_is_started_in_one_place_on_either_side() -> None:
    # given those that hold a thread before it starts, so that others can find it, and the functions, which ship alone
    prepared = {
        "src/gpupipe/lock.py",
        "src/gpupipe/functions/lease.py",
        "worker_image/gpuworker/entries/serving/server.py",
        "worker_image/gpuworker/pipeline/stream.py",
        "worker_image/gpuworker/entries/worker.py",
    }
    made = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Thread"
    }
    assert made == prepared | {"src/gpupipe/threads.py", "worker_image/gpuworker/process/threads.py"}
