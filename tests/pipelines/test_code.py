"""The zip of the functions."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from tests.pipelines.settings import wanted

from gpupipe.pipelines.code import function_code
from gpupipe.resources.function import Function


def test_equal_code_is_equal_bytes_in_any_process(tmp_path: Path) -> None:
    """Or every `up` from another machine would deploy the functions again."""
    script = (
        "import hashlib; from gpupipe.pipelines.code import function_code;"
        "print(hashlib.sha256(function_code()).hexdigest())"
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
    names = zipfile.ZipFile(io.BytesIO(function_code())).namelist()

    assert names == sorted(names)
    assert {"gpupipe/__init__.py", "gpupipe/functions/dispatch.py", "gpuworker/contract/documents.py"} <= set(names)
    assert "gpuworker/ledger/__init__.py" in names
    assert all(name.endswith(".py") for name in names)
    folders = {name.rpartition("/")[0] for name in names}
    assert folders == {"gpupipe", "gpupipe/functions", "gpuworker", "gpuworker/contract", "gpuworker/ledger"}


def test_the_handlers_of_every_kind_load_with_nothing_but_the_zip(tmp_path: Path) -> None:
    """As Lambda loads them: the zip's folders and boto3, none of gpupipe's other files or libraries."""
    kinds: list[dict[str, Any]] = [{"kind": "queue"}, {"kind": "endpoint"}, {"kind": "endpoint", "mode": "realtime"}]
    functions = [one for settings in kinds for one in wanted("one", **settings) if isinstance(one, Function)]
    handlers = sorted({function.handler for function in functions})
    zipfile.ZipFile(io.BytesIO(function_code())).extractall(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path = [p for p in sys.path if 'src' not in p];"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        "import gpupipe, importlib;"
        "pairs = [name.rsplit('.', 1) for name in sys.argv[2:]];"
        "found = [callable(getattr(importlib.import_module(module), name)) for module, name in pairs];"
        "print(gpupipe.__file__, all(found), len(found), 'pydantic' in sys.modules)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), *handlers],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [str(tmp_path / "gpupipe" / "__init__.py"), "True", "4", "False"]
