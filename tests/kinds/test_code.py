"""The zip of the functions."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.kinds.settings import only, wanted

from gpupipe.functions.settings import FILE, VARIABLE
from gpupipe.kinds.shared.code import function_code
from gpupipe.resources.function import Function


def test_equal_code_is_equal_bytes_in_any_process(tmp_path: Path) -> None:
    """Or every `up` from another machine would deploy the functions again."""
    script = (
        "import hashlib; from gpupipe.kinds.shared.code import function_code;"
        "print(hashlib.sha256(function_code('gpupipe.kinds.queue.backend')).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }

    assert len(digests) == 1


def test_it_holds_what_functions_may_import_and_nothing_else() -> None:
    names = zipfile.ZipFile(io.BytesIO(function_code("gpupipe.kinds.queue.backend"))).namelist()

    assert names == sorted(names)
    assert {"gpupipe/__init__.py", "gpupipe/functions/dispatch.py", "gpuworker/contract/documents.py"} <= set(names)
    assert "gpuworker/ledger/__init__.py" in names
    assert all(name.endswith(".py") for name in names)
    folders = {name.rpartition("/")[0] for name in names}
    kinds = {"gpupipe/kinds", "gpupipe/kinds/queue", "gpupipe/kinds/queue/backend"}
    assert folders == {"gpupipe", "gpupipe/functions", "gpuworker", "gpuworker/contract", "gpuworker/ledger", *kinds}
    assert {name for name in names if name.startswith("gpupipe/kinds/") and "backend" not in name} == {
        "gpupipe/kinds/__init__.py",
        "gpupipe/kinds/queue/__init__.py",
    }


KINDS: list[dict[str, Any]] = [{"kind": "queue"}, {"kind": "endpoint"}, {"kind": "endpoint", "mode": "realtime"}]
LONG = {"engine": "sam3", "prompts": [f"number {one} of many kinds" for one in range(400)]}
"""More than Lambda's environment takes."""


def answer_of(function: Function, folder: Path, script: str) -> str:
    """What a process says that has nothing but the function's zip, its environment and boto3."""
    zipfile.ZipFile(io.BytesIO(function.code)).extractall(folder)
    preamble = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path = [p for p in sys.path if 'src' not in p];"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "import gpupipe, importlib; module, name = sys.argv[2].rsplit('.', 1);"
        "handlers = importlib.import_module(module);"
    )
    answer = subprocess.run(
        [sys.executable, "-c", preamble + script, str(folder), function.handler],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, **function.environment},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_every_handler_loads_with_nothing_but_its_zip(tmp_path: Path, settings: dict[str, Any]) -> None:
    """As Lambda loads them: the zip's folders and boto3, none of gpupipe's other files or libraries."""
    functions = [one for one in wanted("one", **settings) if isinstance(one, Function)]
    for number, function in enumerate(functions):
        folder = tmp_path / str(number)
        script = "print(gpupipe.__file__, callable(getattr(handlers, name)), 'pydantic' in sys.modules)"
        assert answer_of(function, folder, script).split() == [
            str(folder / "gpupipe" / "__init__.py"),
            "True",
            "False",
        ]
    assert len(functions) == (2 if settings["kind"] == "queue" else 3)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_function_knows_its_settings_however_long_they_are(tmp_path: Path, settings: dict[str, Any]) -> None:
    for name, options in (("short", {"prompts": ["dog"]}), ("long", LONG)):
        function = only(wanted("one", model={"weights": "/w"}, task_options=options, **settings), Function, "-dispatch")
        size = sum(len(one) + len(value.encode()) for one, value in function.environment.items())
        assert size <= 4096
        assert (function.environment[VARIABLE] == FILE) is (name == "long")
        script = "print(len(handlers.WORKINGS.settings.of_running_function().task_options['prompts']))"
        assert answer_of(function, tmp_path / name, script) == f"{len(options['prompts'])}\n"
