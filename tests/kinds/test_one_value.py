"""A kind is one value: nothing outside its folder knows it by name, and whoever leaves out a member is told at once."""

from __future__ import annotations

import ast
import importlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.kinds.settings import STACK
from tests.toy_kinds.pushed import KIND as PUSHED
from tests.toy_kinds.pushed import PushedKind
from tests.toy_kinds.pushed.backend.idle import NoMachines, PushedView
from tests.toy_kinds.pushed.backend.transport import PushDelivery, PushTransport
from tests.toy_kinds.staged import KIND as STAGED

import gpupipe
from gpupipe.functions.backend import Backend
from gpupipe.functions.transport import Delivery, Transport
from gpupipe.functions.view import View
from gpupipe.kinds.kind import AnyKind, Kind, Site
from gpupipe.kinds.registry import KINDS
from gpupipe.resources import Resource
from gpupipe.resources.function import Function
from gpupipe.resources.log_group import LogGroup
from gpupipe.tasks import options_class

SOURCE = Path(gpupipe.__file__).parent
ROOT = Path(__file__).parents[2]

# --- nobody outside knows a kind by its name ---

MODES = ("async", "realtime")
"""Of an endpoint: to ask for one is to ask for the kind."""
NAMES = frozenset({*KINDS, *MODES})
TESTS_OF_TEXT = frozenset({"startswith", "endswith", "removeprefix", "removesuffix", "fullmatch", "match"})


def comparisons(code: str) -> list[str]:
    """What of a module's code compares anything with one of the names, also by a constant that holds one."""
    tree = ast.parse(code)
    constants = dict(_constants(tree))
    return [ast.unparse(node) for node in ast.walk(tree) if NAMES & {*_words_compared(node, constants)}]


def _constants(tree: ast.Module) -> Iterator[tuple[str, frozenset[str]]]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((one.id, frozenset(_words(node.value, {}))) for one in targets if isinstance(one, ast.Name))


def _words_compared(node: ast.AST, constants: Mapping[str, frozenset[str]]) -> Iterator[str]:
    match node:
        case ast.Compare(left=left, comparators=others):
            for side in (left, *others):
                yield from _words(side, constants)
        case ast.MatchValue(value=value):
            yield from _words(value, constants)
        case ast.Call(func=ast.Attribute(attr=name), args=given) if name in TESTS_OF_TEXT:
            for one in given:
                yield from _words(one, constants)


def _words(node: ast.AST, constants: Mapping[str, frozenset[str]]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(word)):
            yield word
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from _words(part, constants)
        case ast.Call(func=ast.Name(id="frozenset" | "set" | "tuple" | "list"), args=[part]):
            yield from _words(part, constants)
        case ast.Dict(keys=keys):
            for key in filter(None, keys):
                yield from _words(key, constants)
        case ast.Name(id=name):
            yield from constants.get(name, ())


def is_outside(path: Path) -> bool:
    """Is a file of gpupipe in no kind's folder?"""
    parts = path.relative_to(SOURCE).parts
    return parts[0] != "kinds" or parts[1] not in KINDS


@cache
def outside() -> Mapping[str, str]:
    """Code by path."""
    found = sorted(path for path in SOURCE.rglob("*.py") if is_outside(path))
    return {str(path.relative_to(SOURCE)): path.read_text("utf-8") for path in found}


def test_nothing_is_compared_with_the_name_of_a_kind_outside_its_folder() -> None:
    found = {path: compared for path, code in outside().items() if (compared := comparisons(code))}

    assert len(outside()) > 150
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        'if kind == "queue": pass',
        'if "endpoint" != settings.kind: pass',
        'x = 1 if settings.mode in ("async", "other") else 2',
        'x = mode not in {"realtime"}',
        'match kind:\n    case "queue" | "other": pass',
        'match kind:\n    case "endpoint": pass',
        'WITH_MACHINES = frozenset({"queue"})\nx = kind in WITH_MACHINES',
        'NAME: str = "queue"\nx = kind == NAME',
        'WORDS = {"endpoint": "instance"}\nx = kind in WORDS',
        'x = kind.startswith("queue")',
        'x = kind is "queue"',
    ],
)
def test_a_comparison_is_found_however_it_is_written(code: str) -> None:
    assert comparisons(code)


@pytest.mark.parametrize(
    "code",
    ['kind = "queue"', 'x = {"queue": 1}', 'x = resource.kind == "scalable target"', 'x = status.get("endpoint")'],
)
def test_a_word_that_is_not_compared_is_no_matter(code: str) -> None:
    assert comparisons(code) == []


def test_nothing_but_the_registry_imports_from_the_folder_of_a_kind() -> None:
    folders = tuple(f"gpupipe.kinds.{name}" for name in KINDS)

    importers = {path for path, code in outside().items() if any(one.startswith(folders) for one in _imports(code))}

    assert importers == {"kinds/registry.py"}


def _imports(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


# --- each kind answers everything ---

CASES: Mapping[str, tuple[AnyKind, Mapping[str, Any]]] = {
    "queue": (KINDS["queue"], {}),
    "endpoint, async": (KINDS["endpoint"], {"mode": "async"}),
    "endpoint, realtime": (KINDS["endpoint"], {"mode": "realtime"}),
    "pushed": (PUSHED, {}),
    "staged": (STAGED, {}),
}


def site_of(kind: AnyKind, settings: Mapping[str, Any]) -> Site[Any]:
    """A pipeline as `init` writes it, in a stack."""
    task = kind.starter.task
    table = {"kind": kind.name, "task": task, "task_options": options_class(task)(), **settings}
    return Site(stack=STACK, pipeline="one", settings=kind.settings.model_validate(table), endpoints={})


@pytest.fixture(params=CASES)
def site(request: pytest.FixtureRequest) -> Site[Any]:
    return site_of(*CASES[request.param])


@pytest.fixture
def kind(site: Site[Any]) -> AnyKind:
    return next(kind for kind, _ in CASES.values() if kind.name == site.settings.kind)


def planned(kind: AnyKind, site: Site[Any], what: type[Resource]) -> list[Any]:
    return [one for one in kind.resources(site) if isinstance(one, what)]


def test_every_kind_of_the_registry_is_tried() -> None:
    assert {*KINDS} < {kind.name for kind, _ in CASES.values()}


def test_what_a_kind_says_of_itself_is_of_use(kind: AnyKind, site: Site[Any]) -> None:
    assert type(kind).__abstractmethods__ == frozenset()
    assert 1 <= kind.shard_items(site.settings, 1000, 1.0) <= 256
    assert [type(text) for text in kind.cannot_hold(site.settings)] == [str, str]
    assert site.pipeline in kind.cost_note(site)
    assert kind.idle_reason({}).endswith(".")
    assert kind.backend_text({}) == ""
    assert kind.backend_word
    assert kind.workers in (f"{kind.unit}s", "work")
    assert type(kind.loads_weights_in_up) is bool
    assert list(kind.not_offered(site.settings, "us-east-1")) == []


def test_outputs_are_texts(kind: AnyKind, site: Site[Any]) -> None:
    outputs = kind.outputs(site)

    assert {"bucket", "table"} <= {*outputs}
    assert all(isinstance(value, str) and value for value in outputs.values())


def test_every_handler_is_in_the_package_that_ships_with_it(kind: AnyKind, site: Site[Any]) -> None:
    functions = planned(kind, site, Function)

    assert len(functions) >= 2
    for function in functions:
        module, _, name = function.handler.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
        assert f"{module.replace('.', '/')}.py" in zipfile.ZipFile(io.BytesIO(function.code)).namelist()


def test_logs_are_looked_for_where_something_is_planned_to_log(kind: AnyKind, site: Site[Any]) -> None:
    groups = {group.name for group in planned(kind, site, LogGroup)}
    sources = kind.log_sources(site)

    assert {source.group for source in sources.values()} == groups
    assert {source.group for source in sources.values() if source.is_function} == {
        function.log_group.name for function in planned(kind, site, Function)
    }


def test_every_handler_of_a_toy_loads_with_nothing_but_its_zip(tmp_path: Path) -> None:
    """As Lambda loads them: there is neither pydantic nor the rest of gpupipe, and of `tests` only what was shipped."""
    script = (
        "import sys; sys.path = [sys.argv[1], *(p for p in sys.path if 'site-packages' in p or 'lib/python' in p)];"
        "sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one).lower()];"
        "import importlib, tests; module, _, name = sys.argv[2].rpartition('.');"
        "print(callable(getattr(importlib.import_module(module), name)), tests.__file__, 'pydantic' in sys.modules)"
    )
    for kind in (PUSHED, STAGED):
        for function in planned(kind, site_of(kind, {}), Function):
            folder = tmp_path / function.name
            zipfile.ZipFile(io.BytesIO(function.code)).extractall(folder)
            command = [sys.executable, "-I", "-c", script, str(folder), function.handler]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
            assert (answer.stdout.split(), answer.stderr) == (
                ["True", str(folder / "tests" / "__init__.py"), "False"],
                "",
            )


# --- whoever leaves out a member is told at once ---

WHOLE: Mapping[type[Any], type[Any]] = {
    Kind: PushedKind,
    Backend: NoMachines,
    Transport: PushTransport,
    Delivery: PushDelivery,
    View: PushedView,
}
"""What asks -> a class that answers it all."""
MEMBERS = [(asks, member) for asks in WHOLE for member in sorted(asks.__abstractmethods__)]
OF_PYTHON = frozenset({"__dict__", "__weakref__", "__abstractmethods__", "_abc_impl"})


def derived(asks: type[Any], *, without: str = "") -> type[Any]:
    """A class that has what the toy's has, but for one member."""
    members = {name: one for name, one in vars(WHOLE[asks]).items() if name not in OF_PYTHON and name != without}
    return type(asks)("Partial", (asks,), members)


@pytest.mark.parametrize("asks", WHOLE, ids=lambda asks: asks.__name__)
def test_a_class_that_answers_everything_is_taken(asks: type[Any]) -> None:
    assert derived(asks).__abstractmethods__ == frozenset()


@pytest.mark.parametrize(("asks", "member"), MEMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_a_class_that_leaves_out_a_member_fails_at_import(asks: type[Any], member: str) -> None:
    """The `class` statement itself fails, so that no function begins with it."""
    with pytest.raises(TypeError, match=rf"Partial leaves out {member}$"):
        derived(asks, without=member)


LEFT_OUT = (
    ("__init__.py", "PushedKind", "backend_text"),
    ("__init__.py", "PushedKind", "unit"),
    ("backend/idle.py", "NoMachines", "changes"),
    ("backend/idle.py", "PushedView", "room"),
    ("backend/transport.py", "PushTransport", "count"),
    ("backend/transport.py", "PushDelivery", "begins_work"),
)


def without(code: str, name: str, member: str) -> str:
    """The module, with its class without the member, and a function at the end that makes one."""
    tree = ast.parse(code)
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    found.body = [node for node in found.body if member not in _bound_by(node)]
    return f"{ast.unparse(tree)}\ndef make(*given: Any, **named: Any) -> object:\n    return {name}(*given, **named)\n"


def _bound_by(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {one.id for one in targets if isinstance(one, ast.Name)}
    return set()


def test_mypy_names_what_is_left_out(tmp_path: Path) -> None:
    """Each class of a toy without one member, and the toys as they are, in one run."""
    toy = ROOT / "tests" / "toy_kinds" / "pushed"
    for number, (file, name, member) in enumerate(LEFT_OUT):
        code = without((toy / file).read_text("utf-8"), name, member)
        code = code.replace("import annotations\n", "import annotations\nfrom typing import Any\n", 1)
        (tmp_path / f"partial_{number}.py").write_text(code, "utf-8")

    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    answer = subprocess.run(
        [*command, str(tmp_path), str(toy.parent)], capture_output=True, text=True, timeout=280, cwd=ROOT
    )

    found = sorted(
        line.rpartition("/")[2].partition(":")[0] for line in answer.stdout.splitlines() if "abstract" in line
    )
    assert [*dict.fromkeys(found)] == [f"partial_{number}.py" for number in range(len(LEFT_OUT))], answer.stdout
    for _, name, member in LEFT_OUT:
        assert f'Cannot instantiate abstract class "{name}" with abstract attribute "{member}"' in answer.stdout
    assert "toy_kinds" not in answer.stdout
