"""Weights from a hub that wants a token: what a person sees without it, and that nobody sees it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import SEGMENT, Person, eventually, settle, standing
from tests.gpuworker.models.fake_hub import COMMIT, REPOSITORY, TOKEN, FakeHub, fake_hub
from tests.tiny_sam3 import write_tiny_sam3

from gpuworker.contract import model_manifest_key

pytestmark = pytest.mark.exhaustive

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
    with standing(settle(folder, name="weights", pipelines=SEGMENT + settings)) as person:
        yield person


def test_a_job_waits_for_the_token_and_goes_on_with_it(person: Person, hub: FakeHub) -> None:
    # given a secret that `up` made and nobody set
    [secret] = person.types("secrets", "list", "--json").document
    assert (secret["name"], secret["exists"], secret["has_value"]) == ("hf_token", True, False)
    job = person.types("submit", "images", "--project", "field7", "--json").document["job"]
    # when the machine finds that out, it goes off, and the job says what to do
    [listed] = eventually("stalled", lambda: [one for one in person.jobs("field7") if one["state"] == "stalled"])
    assert REMEDY in listed["reason"]
    assert REMEDY in person.types("watch", job, code=None).out
    assert REMEDY in person.types("logs").out
    # then the token is set, and all goes on
    said = person.types("secrets", "set", "hf_token", stdin=f"{TOKEN}\n")
    person.types("start")
    view = person.types("watch", job, "--json").document
    assert (view["state"], view["done"], view["failed"]) == ("finished", 1, 0)
    person.client("s3").head_object(Bucket=person.bucket("segment"), Key=model_manifest_key(REPOSITORY, COMMIT))
    # and nobody has seen it but the hub and Secrets Manager
    assert hub.tokens == {TOKEN}
    shown = [said.out, said.err, person.types("logs").out, person.types("secrets", "list").out]
    assert not [text for text in shown if TOKEN in text]
    holding = [path.name for path in person.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert set(holding) <= {"secretsmanager.json"}, "the emulated Secrets Manager's own"
