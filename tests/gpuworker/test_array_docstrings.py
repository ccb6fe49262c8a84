"""Public functions of the worker say of every array that they take what shape and type of numbers it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gpuworker

ROOT = Path(gpuworker.__file__).parent
PACKAGES = ("images", "geo", "masks", "tiles", "engines", "tasks")
SHAPE = re.compile(r"\b\w+×\w+|\b[Nn] (float|int|uint)\d")
"""H×W, h×w×3, n×2; N float64."""


def public_functions(source: str) -> Iterator[ast.FunctionDef]:
    """Those of a module and of its classes; none within functions, which nobody else calls."""
    scopes: list[ast.Module | ast.ClassDef] = [ast.parse(source)]
    while scopes:
        for node in scopes.pop().body:
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield node


def dtypes_taken(function: ast.FunctionDef) -> list[str]:
    """The dtype of each array argument, "Any" where it takes every one."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    annotations = [ast.unparse(one.annotation) for one in arguments if one.annotation is not None]
    return [dtype.rstrip("_") for text in annotations for dtype in re.findall(r"NDArray\[(?:np\.)?(\w+)\]", text)]


def missing(function: ast.FunctionDef) -> list[str]:
    """What the docstring does not say of the arrays."""
    said, dtypes = ast.get_docstring(function) or "", dtypes_taken(function)
    if not dtypes:
        return []
    shape = [] if SHAPE.search(said) else ["shape"]
    return shape + sorted({one for one in dtypes if ("any dtype" if one == "Any" else one) not in said})


def test_docstrings_say_shape_and_dtype_of_arrays() -> None:
    """given every module of the packages that hold pixels, then no public function leaves either out"""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    functions = [(path, one) for path in files for one in public_functions(path.read_text(encoding="utf-8"))]
    assert sum(bool(dtypes_taken(one)) for _, one in functions) > 40

    found = {f"{path.relative_to(ROOT)}:{one.name}": lacks for path, one in functions if (lacks := missing(one))}

    assert found == {}


def test_what_is_left_out_is_seen() -> None:
    """given a function that says neither, one that says the shape, and one that says both"""
    texts = ("The mask turned.", "The mask (H×W) turned.", "The mask (H×W bool) turned.")
    functions = [f'def turned(mask: NDArray[np.bool_], by: int) -> None:\n    """{text}"""' for text in texts]

    found = [missing(one) for source in functions for one in public_functions(source)]

    assert found == [["shape", "bool"], ["bool"], []]
