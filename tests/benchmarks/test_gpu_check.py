"""benchmarks/gpu_check.sh where there is no GPU: what it passes on, by argument, and all of it on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_sam3

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--tiny", "--device", "cpu", "--kept", "0", "--megapixels", "1", "--seconds", "0", "--pictures", "1")
TIMEOUT_S = 280


def check(tmp_path: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks/gpu_check.sh"), "--out", str(tmp_path / "out"), "--wheels", "none"]
    environment = {**os.environ, "PYTHON": python}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, timeout=TIMEOUT_S)


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A Python that writes down how it was called, and answers -c as Python does; `fails` says for which words not."""
    path = tmp_path / "python"
    path.write_text(
        f"""#!/bin/sh
        if [ "$1" = -c ]; then exec "{sys.executable}" "$@"; fi
        echo "$GPUPIPE_TEST_DEVICE: $*" >> "{tmp_path}/calls"
        case "$*" in *"$FAILS"*) [ -n "$FAILS" ] && exit 3 ;; esac
        exit 0
        """
    )
    path.chmod(0o755)
    return path


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_tests_come_first_and_then_the_benchmark(tmp_path: Path, recorder: Path) -> None:
    done = check(tmp_path, "--dry-run", "--usd-per-hour", "3.5", "--prompts", "2", python=str(recorder))
    assert done.returncode == 0, done.stderr
    tests, benchmark = calls(tmp_path)
    assert tests.startswith("cpu: -m pytest tests/gpu --confcutdir=tests/gpu -m gpu")
    assert benchmark.startswith("cpu: benchmarks/gpu_sam3.py --compile --tiny --device cpu")
    assert benchmark.endswith(f"--json {tmp_path}/out/gpu_sam3.json --usd-per-hour 3.5 --prompts 2")


def test_on_a_gpu_every_bar_is_measured(tmp_path: Path, recorder: Path) -> None:
    done = check(tmp_path, python=str(recorder))
    assert done.returncode == 0, done.stderr
    _, benchmark = calls(tmp_path)
    assert "cuda: benchmarks/gpu_sam3.py --compile --kept 0,20,200 --megapixels 1,12 --seconds 8" in benchmark


def test_no_measurement_begins_when_the_minutes_are_nearly_over(tmp_path: Path, recorder: Path) -> None:
    check(tmp_path, "--minutes", "2", "--dry-run", python=str(recorder))
    words = calls(tmp_path)[1].split()
    assert 1.0 < float(words[words.index("--minutes") + 1]) <= 1.25


@pytest.mark.parametrize("fails", ["pytest", "gpu_sam3"])
def test_a_step_that_fails_fails_the_check_after_all_have_run(
    tmp_path: Path, recorder: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setenv("FAILS", fails)
    done = check(tmp_path, "--dry-run", python=str(recorder))
    assert done.returncode == 1
    assert len(calls(tmp_path)) == 2


def test_wheels_that_cannot_be_installed_end_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/broken-1-py3-none-any.whl").write_bytes(b"no wheel")
    done = check(tmp_path, "--dry-run", "--wheels", str(tmp_path / "wheels"))
    assert done.returncode == 1
    assert "broken" in done.stderr
    assert not (tmp_path / "out/test.log").exists()


def test_without_a_gpu_the_benchmark_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_sam3.main([]) == 1
    assert "--tiny --device cpu" in capsys.readouterr().err


def test_what_there_is_no_time_for_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_sam3.main([*TINY, "--minutes", "0", "--weights", str(tmp_path / "w")]) == 0
    assert "1 MP,   0 kept: left out, the 0 minutes are over" in capsys.readouterr().out


@pytest.mark.exhaustive
def test_every_argument_is_followed_on_the_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--kept", "3", "--prompts", "2", "--no-overlays", "--compile", "--usd-per-hour", "1")
    places = ("--weights", str(tmp_path / "w"), "--json", str(tmp_path / "figures.json"))
    assert gpu_sam3.main([*TINY, *words, *places]) == 0
    out = capsys.readouterr().out
    for expected in ("2 prompt(s)", "1 MP,   3 kept", "not compiled: only on CUDA", "nothing about speed"):
        assert expected in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert json.loads(out.splitlines()[-1]) == figures
    [one] = figures["eager"]
    assert one["images_a_second"] > 0
    assert one["written_kb"] < 60, "overlays were left out"


@pytest.mark.exhaustive
def test_the_whole_check_runs_on_a_processor(tmp_path: Path) -> None:
    done = check(tmp_path, "--dry-run", "--kept", "3", "--megapixels", "12", "--seconds", "0", "--pictures", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests: 0, benchmark: 0" in done.stdout
    assert " passed, " in (tmp_path / "out/test.log").read_text()
    [one] = json.loads((tmp_path / "out/gpu_sam3.json").read_text())["eager"]
    assert (one["megapixels"], one["kept"]) == ("12", 3)
