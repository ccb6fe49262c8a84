"""Weights from a hub that wants a token: what a person sees without it, and that nobody sees it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND_TIMEOUT_S, Person, eventually, settle, standing
from tests.gpuworker.models.fake_hub import COMMIT, REPOSITORY, TOKEN, FakeHub, fake_hub
from tests.tiny_sam3 import write_tiny_sam3

from gpuworker.contract import model_manifest_key

PHOTOS = resources.files("gpupipe.examples") / "photos"
REMEDY = "secret hf_token has no value: set the hub's token with `gpupipe secrets set hf_token`"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a tiny model, which shows it only to who has the token."""
    weights = write_tiny_sam3(tmp_path / "weights")
    with fake_hub() as hub:
        hub.needs_token = True
        hub.files = {path.name: path.read_bytes() for path in weights.iterdir()}
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def person(tmp_path: Path, hub: FakeHub) -> Iterator[Person]:
    """Somebody with one image, whose stack takes its weights from that hub."""
    folder = tmp_path / "stack"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "cat.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes())
    settings = f"""
        [pipelines.segment.task_options]
        engine = "sam3"
        prompts = ["tree"]
        [pipelines.segment.model]
        weights = "{REPOSITORY}"
        revision = "{COMMIT}"
        token_secret = "hf_token"
        """
    with standing(settle(folder, name="weights", settings=settings)) as person:
        yield person


def sets(person: Person, name: str, value: str) -> subprocess.CompletedProcess[str]:
    """`gpupipe secrets set NAME < FILE`."""
    return subprocess.run(
        [sys.executable, "-m", "gpupipe", "secrets", "set", name],
        cwd=person.folder,
        env={**os.environ, "NO_COLOR": "1"},
        input=f"{value}\n",
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=True,
    )


def test_a_job_waits_for_the_token_and_goes_on_with_it(person: Person, hub: FakeHub) -> None:
    # given a secret that `up` made and nobody set
    [secret] = person.types("secrets", "list", "--json").document
    assert (secret["name"], secret["exists"], secret["has_value"]) == ("hf_token", True, False)
    job = person.types("submit", "images", "--project", "field7", "--json").document["job"]
    # when the machine finds that out, it goes off, and the job says what to do
    [listed] = eventually("stalled", lambda: [one for one in jobs(person) if one["state"] == "stalled"])
    assert REMEDY in listed["reason"]
    assert REMEDY in person.types("watch", job, code=None).out
    assert REMEDY in person.types("logs").out
    # then the token is set, and all goes on
    said = sets(person, "hf_token", TOKEN)
    person.types("start")
    view = person.types("watch", job, "--json").document
    assert (view["state"], view["done"], view["failed"]) == ("finished", 1, 0)
    person.client("s3").head_object(Bucket=person.bucket, Key=model_manifest_key(REPOSITORY, COMMIT))
    # and nobody has seen it but the hub and Secrets Manager
    assert hub.tokens == {TOKEN}
    shown = [said.stdout, said.stderr, person.types("logs").out, person.types("secrets", "list").out]
    assert not [text for text in shown if TOKEN in text]
    holding = [path.name for path in person.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert set(holding) <= {"secretsmanager.json"}, "the emulated Secrets Manager's own"


def jobs(person: Person) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(person.types("jobs", "--json").out)
    return listed
