"""That every benchmark runs through and compares with something, on the smallest inputs; not how fast anything is."""

from __future__ import annotations

import ast

import pytest
from benchmarks.__main__ import ROOT, RUNS, main, run

from benchmarks import report

PARTS = {"__main__", "report", "latency_s3", "peer_litserve", "sam3_rig", "transfer_rig"}
"""What is no benchmark in that folder. A benchmark `gpu_*` needs a GPU."""
BENCHMARKS = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if path.stem not in PARTS and not path.stem.startswith("gpu_")
)
DEAR = {"sam3_overhead", "submit", "fetch", "serve", "worker_efficiency"}
"""Seconds each, for a model, servers or the processes of peers."""
LIMIT_S = 120.0


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_has_a_smoke_mode(name: str) -> None:
    code = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text())
    calls = [
        node for node in ast.walk(code) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parsed")
    ]
    assert [word.arg for call in calls for word in call.keywords].count("smoke") == 1


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] if name in DEAR else []) for name in BENCHMARKS]
)
def test_it_runs_through_and_compares(name: str) -> None:
    outcome = run([name, "--smoke"], limit_s=LIMIT_S)
    printed = "\n".join(outcome.lines)
    assert outcome.status == 0, printed
    # then it says what its figures are worth, judges nothing, and names whom it compares with
    assert outcome.lines[0] == report.SMOKE
    assert outcome.missed == []
    assert report.COMPARISON.search(printed), printed


def test_all_of_them_are_run_together() -> None:
    assert {words[0] for words in RUNS} == set(BENCHMARKS)


def test_one_that_fails_stops_no_other_and_is_named_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    # when one is not even there
    status = main(["--smoke"], runs=(["missing"], ["rle"]))
    # then the other has run, and the whole has failed
    *_, failed, summary = capfd.readouterr().out.splitlines()
    assert status == 1
    assert failed == "FAILED missing --smoke: exit status 1"
    assert summary == "1 of 2 benchmarks ran through, 0 bars were missed"
