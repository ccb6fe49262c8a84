"""What is installed: its name stands once in code; wheel and sdist hold both packages and work without the clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from gpuworker.contract import DISTRIBUTION, install_command

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA = re.compile(r"gpupipe(-aws)?\[(\w+)\]")


def test_the_name_is_that_of_the_project_file() -> None:
    assert PROJECT["name"] == DISTRIBUTION != "gpupipe"
    assert PROJECT["scripts"] == {"gpupipe": "gpupipe.cli.main:main"}
    assert install_command("heif") == "pip install 'gpupipe-aws[heif]'"
    assert install_command() == "pip install gpupipe-aws"


def test_it_stands_once_in_code() -> None:
    named = {
        str(path.relative_to(ROOT))
        for folder in ("src", "worker_image", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if DISTRIBUTION in path.read_text() or EXTRA.search(path.read_text())
    }
    assert named == {"worker_image/gpuworker/contract/distribution.py"}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_extras_that_there_are_of_a_distribution_that_is_ours(document: str) -> None:
    for ours, extra in EXTRA.findall((ROOT / document).read_text()):
        assert ours
        assert extra in PROJECT["optional-dependencies"]
    assert not re.search(r"pip install '?gpupipe(?!-aws)", (ROOT / document).read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return folder


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (wheel,), (sdist,) = built.glob("gpupipe_aws-*.whl"), built.glob("gpupipe_aws-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=100)
    (again,) = (tmp_path / "again").glob("*.whl")
    assert _files(again) == _files(wheel)
    assert {"gpupipe/cli/main.py", "gpuworker/contract/__init__.py", "gpupipe/py.typed"} <= _files(wheel)


def _files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_works_in_an_empty_folder_outside_of_the_clone(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)

    def gpupipe(*words: str) -> str:
        # only what the wheel brings: the clone's own folders are not on the path before it
        code = "import gpupipe, gpuworker, sys; from gpupipe.cli.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import gpupipe, gpuworker; print(gpupipe.__file__, gpuworker.__file__)"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.count(str(site)) == 2
    assert gpupipe("--version").strip()
    gpupipe("init", "--name", "field")
    assert (empty / "gpupipe.toml").is_file()
    assert "field" in gpupipe("config", "show")
