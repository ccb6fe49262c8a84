"""Graphs of any shape: order, concurrency, failures and the gate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import examples

from gpupipe.errors import LockLostError, StoppedError
from gpupipe.plan.execute import Gate, Report, Run


def nothing_to_check() -> None: ...


@st.composite
def graphs(draw: st.DrawFn) -> Mapping[str, list[str]]:
    """Up to 12 nodes, each needing any of those before it."""
    size = draw(st.integers(1, 12))
    nodes = [f"n{number}" for number in range(size)]
    return {
        node: draw(st.lists(st.sampled_from(nodes[:number]), unique=True)) if number else []
        for number, node in enumerate(nodes)
    }


@given(graphs(), st.sets(st.integers(0, 11)))
@examples(60)
def test_every_node_ends_once_after_what_it_needs(needs: Mapping[str, list[str]], failing: set[int]) -> None:
    """Failing nodes fail, what needs one is not tried, and everything else is done."""
    bad = {f"n{number}" for number in failing} & set(needs)
    began: list[str] = []
    heard: list[Report] = []

    def work(node: str) -> Callable[[Callable[[str], None]], None]:
        def act(_: Callable[[str], None]) -> None:
            began.append(node)
            if node in bad:
                raise ValueError(node)

        return act

    run = Run(work={node: work(node) for node in needs}, needs=needs, gate=Gate(nothing_to_check), listen=heard.append)
    outcomes = run.go()

    doomed: set[str] = set()
    for node, before in needs.items():  # in topological order by construction
        if node in bad or doomed & set(before):
            doomed.add(node)
    assert {node for node, outcome in outcomes.items() if outcome.is_done} == set(needs) - doomed
    untried = {node for node, outcome in outcomes.items() if outcome.blocker}
    assert untried == {node for node in needs if doomed & set(needs[node])}
    assert sorted(began) == sorted(set(needs) - untried)
    for node in began:
        assert all(began.index(one) < began.index(node) for one in needs[node])
    assert sorted(report.id for report in heard if report.outcome) == sorted(needs)


def test_what_a_node_needs_outside_the_graph_counts_as_done() -> None:
    run = Run(work={"a": lambda _: None}, needs={"a": ["elsewhere"]}, gate=Gate(nothing_to_check), listen=print)

    assert run.go()["a"].is_done


def test_progress_is_heard_in_the_calling_thread() -> None:
    heard: list[tuple[str, int]] = []
    run = Run(
        work={"a": lambda tell: tell("half")},
        needs={},
        gate=Gate(nothing_to_check),
        listen=lambda report: heard.append((report.text, threading.get_ident())),
    )

    run.go()

    assert {ident for _, ident in heard} == {threading.get_ident()}
    assert "half" in [text for text, _ in heard]


def test_more_nodes_than_threads_all_run() -> None:
    done: list[int] = []
    work = {str(number): (lambda _, number=number: done.append(number)) for number in range(60)}

    Run(work=work, needs={}, gate=Gate(nothing_to_check), listen=lambda _: None).go()

    assert sorted(done) == list(range(60))


def test_the_gate_asks_for_the_lock_before_changes_only() -> None:
    asked: list[str] = []

    def check() -> None:
        asked.append("lock")
        raise LockLostError("lost")

    gate = Gate(check)
    gate("s3", "GetObject")
    with pytest.raises(LockLostError):
        gate("s3", "PutObject")

    assert asked == ["lock"]


def test_a_closed_gate_refuses_everything() -> None:
    gate = Gate(nothing_to_check)
    gate.close()

    for operation in ("GetObject", "PutObject"):
        with pytest.raises(StoppedError):
            gate("s3", operation)
