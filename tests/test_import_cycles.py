"""No module imports itself over others, not even inside a function: what is imported late is so for its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from graphlib import CycleError, TopologicalSorter

import grimp


def cycle_of(modules: Iterable[str], imported_by: Callable[[str], Iterable[str]]) -> list[str]:
    """The modules of one cycle, in order; none where there is none."""
    try:
        TopologicalSorter({module: imported_by(module) for module in modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_none() -> None:
    graph = grimp.build_graph("gpupipe", "gpuworker", exclude_type_checking_imports=True)
    assert len(graph.modules) > 500
    assert cycle_of(graph.modules, graph.find_modules_directly_imported_by) == []


def test_one_would_be_found() -> None:
    imports = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}
    assert set(cycle_of(imports, imports.__getitem__)) == {"a", "b", "c"}
