"""Dotted names of our modules in strings, which neither Python nor mypy follows: each is there under that name.

Entries that processes are started by, tables of tasks and engines, handlers of functions, import rules, docstrings.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "worker_image", "tests", "benchmarks", "docs", ".ci", ".github")
SUFFIXES = {".py", ".toml", ".sh", ".yml", ".yaml"}
WITHOUT_SUFFIX = {"Makefile", "Dockerfile", "run"}

NAME = re.compile(
    r"(?<![\w./@-])((?:gpupipe|gpuworker|benchmarks|tests)(?:\.[A-Za-z_]\w*)+)(?::([A-Za-z_]\w*))?(?![\w/-])"
)
IMPORT = re.compile(r"^[ \t]*(?:from [\w.]+ import |import [\w.]+).*$", re.MULTILINE)
FILES = (".json", ".toml")
"""Ends of what looks like a module and is a file."""
INVENTED = {
    "gpupipe.elsewhere": "a process that is none of ours",
    "gpupipe.local.example": "a process that is started by no one",
}
"""Names that tests have made up."""


def texts(path: Path) -> Iterator[str]:
    """The strings of a Python file, docstrings among them; all of any other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
    elif NAME.search(IMPORT.sub("", text)):  # most files have our names in imports only, and parsing takes long
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def names_in(text: str) -> set[str]:
    found = {".".join(filter(None, match.groups())) for match in NAME.finditer(text)}
    return {name for name in found if not name.endswith(FILES) and name not in INVENTED}


def files(root: Path) -> Iterator[Path]:
    found = [*root.iterdir(), *(path for folder in FOLDERS for path in (root / folder).rglob("*"))]
    for path in sorted(found):
        is_text = path.suffix in SUFFIXES or path.name in WITHOUT_SUFFIX
        if path.is_file() and is_text and path != Path(__file__):
            yield path


def named(root: Path) -> dict[str, list[str]]:
    """Each name, and the files that it is in."""
    places: dict[str, list[str]] = {}
    for path in files(root):
        for name in {name for text in texts(path) for name in names_in(text)}:
            places.setdefault(name, []).append(path.relative_to(root).as_posix())
    return places


def has(file: str | None, attribute: str) -> bool:
    """Whether a module has a name at its top, by its text: some import torch, or start something."""
    if file is None:  # a folder without `__init__`
        return False
    statements = ast.parse(Path(file).read_text(encoding="utf-8")).body
    return attribute == "__file__" or any(attribute in names_of(statement) for statement in statements)


def names_of(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    found = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]
    return found | {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}


def is_there(name: str) -> bool:
    """Whether it is a module, or something in one: `gpuworker.entries.worker.Worker`. Imports packages only."""
    module, *rest = name.split(".")
    spec = importlib.util.find_spec(module)
    while rest and spec is not None and spec.submodule_search_locations is not None:
        inner = importlib.util.find_spec(module := f"{module}.{rest[0]}")
        if inner is None:
            break
        spec, rest = inner, rest[1:]
    return spec is not None and (not rest or has(spec.origin, rest[0]))


def missing(places: Mapping[str, list[str]]) -> list[str]:
    return [f"{name} in {', '.join(where)}" for name, where in sorted(places.items()) if not is_there(name)]


def test_every_module_that_a_string_names_is_there() -> None:
    places = named(ROOT)
    assert len(places) > 50, "the repository's own strings were not found"
    assert missing(places) == []


def test_a_misspelt_name_is_found_in_each_kind_of_file(tmp_path: Path) -> None:
    wrong = {
        "src/entry.py": 'COMMAND = ["-m", "gpuworker.pol"]\n',
        "src/table.py": 'TASKS = {"segment": "gpuworker.tasks.segment.task:Segmnt"}\n',
        "src/told.py": 'ABOUT = f"see `gpuworker.ledger.Ledgr` of {1}"\n',
        "pyproject.toml": 'source_modules = ["gpupipe.comand"]\n',
        "Makefile": "soak:\n\tpython -m tests.soke --rounds 3\n",
        "benchmarks/check.sh": "python -m benchmarks.startop\n",
        ".github/check.yml": "run: python -m gpupipe.local.machin --folder x\n",
        "worker_image/Dockerfile": 'ENTRYPOINT ["python", "-m", "gpuworker.surve"]\n',
    }
    for place, text in wrong.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text, encoding="utf-8")

    said = missing(named(tmp_path))

    assert sorted(line.partition(" in ")[2] for line in said) == sorted(wrong)


def test_names_that_are_there_and_files_pass() -> None:
    text = (
        "`gpupipe.toml`, gpupipe.schema.json; python -m benchmarks.startup, tests.soak, gpupipe.cli.main:main; "
        "-m gpuworker.ledger. gpuworker.contract.items.ItemError; gpuworker.* worker_image/gpuworker.zip"
    )

    found = names_in(text)

    assert found == {
        "benchmarks.startup",
        "tests.soak",
        "gpupipe.cli.main.main",
        "gpuworker.ledger",
        "gpuworker.contract.items.ItemError",
    }
    assert missing({name: [] for name in found}) == []
