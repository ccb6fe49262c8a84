"""Entries by the names that they had: what was made or started before a room held them still starts them."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["gpuworker.poll", "gpuworker.serve"])
def test_an_entry_starts_under_its_former_name(name: str) -> None:
    without_settings = {key: value for key, value in os.environ.items() if not key.startswith("GPUPIPE_")}

    done = subprocess.run([sys.executable, "-m", name], env=without_settings, capture_output=True, text=True)

    assert done.returncode not in (0, 75)
    assert done.stderr.startswith("gpuworker: "), "the entry itself says what it lacks"
