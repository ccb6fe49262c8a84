"""Emulators for the tests of the local target, and a worker that does what its settings say."""

import functools
import stat
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.clients import Client, client_of

from gpupipe.config_file import render
from gpupipe.local import emulators
from gpupipe.local.emulators import Emulators


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with emulators.running(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture(scope="session")
def client(local: Emulators) -> Client:
    """service -> boto3 client of the emulators."""

    @functools.cache
    def make(service: str) -> Any:
        return client_of(local.account, local.endpoints, service)

    return make


@pytest.fixture
def worker_python(tmp_path: Path) -> Path:
    """Stands in for the Python that runs `-m gpuworker.poll`: notes each start, then does what worker.json says.

    `{"then": "exit 0"}` ends; `"wait"` waits for SIGTERM; `"stubborn"` ignores it; a list gives one for each start.
    """
    script = tmp_path / "worker-python"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import json, os, pathlib, signal, subprocess, sys, time
            disk = pathlib.Path(os.environ["GPUPIPE_WORK_DIR"])
            settings = json.loads(pathlib.Path(os.environ["GPUPIPE_WORKER_CONFIG"]).read_text())
            starts = disk / "starts.jsonl"
            number = len(starts.read_text().splitlines()) if starts.exists() else 0
            wanted = {{name: os.environ.get(name) for name in settings.get("tell", [])}}
            child = subprocess.Popen(["sleep", "60"]) if settings.get("child") else None
            if settings["then"] == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if settings["then"] == "wait":
                def ended(*_):
                    (disk / "told.txt").write_text("SIGTERM")
                    sys.exit(0)
                signal.signal(signal.SIGTERM, ended)
            with starts.open("a") as stream:
                line = {{"pid": os.getpid(), "argv": sys.argv[1:], "child": child and child.pid, **wanted}}
                stream.write(json.dumps(line) + "\\n")
            then = settings["then"]
            then = then[min(number, len(then) - 1)] if isinstance(then, list) else then
            if then.startswith("exit"):
                sys.exit(int(then.split()[1]))
            if then == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
            """
        )
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.fixture
def config_file(tmp_path: Path, worker_python: Path) -> Path:
    """A gpupipe.toml whose machines run the stand-in worker."""
    file = tmp_path / "gpupipe.toml"
    text = render(kind="queue", name="demo", target="local")
    assert "[local]\n" in text
    file.write_text(text.replace("[local]\n", f'[local]\nworker_python = "{worker_python}"\nguard_interval_s = 0.5\n'))
    return file
