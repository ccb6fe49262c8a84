import contextlib
import gc
import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.gpuworker.models.fake_hub import COMMIT, FILES, REPOSITORY, FakeHub, fake_hub
from tests.gpuworker.station import PIPELINE, Station

from gpuworker.contract import ModelSource, model_manifest_key, model_prefix
from gpuworker.models import FolderModels, ModelError
from gpuworker.models.hub import Hub
from gpuworker.models.kept import Seals
from gpuworker.models.mirror import Mirror
from gpuworker.models.mirrored import REMEMBERED_S, MirroredModels

SOURCE = ModelSource(weights=REPOSITORY, revision=COMMIT, on_cpu=True)
MANIFEST = model_manifest_key(REPOSITORY, COMMIT)
TAKEN = {"model.safetensors", "config.json", "merges.txt"}


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def machine(
    station: Station,
    server: FakeHub,
    root: Path,
    *,
    source: ModelSource = SOURCE,
    s3: Any = None,
    clock: Clock | None = None,
) -> MirroredModels:
    """What a machine with this disk has."""
    return MirroredModels(
        source,
        station.storage,
        station.log,
        seals=Seals(station.ledger, PIPELINE),
        mirror=Mirror(source, station.storage, s3=s3 or station.client("s3")),
        hub=lambda: Hub(source, token="", endpoint=server.url, pauses_s=()),
        root=root,
        clock=clock or Clock(),
    )


def nowhere() -> Any:
    """A client of a bucket that does not answer."""
    return boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="none",
        config=Config(retries={"max_attempts": 0}, connect_timeout=1),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_first_machine_asks_the_hub_and_the_next_the_bucket(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    # when
    first = machine(station, server, tmp_path / "a").folder()
    asked = server.asked.total()
    second = machine(station, server, tmp_path / "b").folder()
    # then
    assert contents(first) == contents(second) == {name: FILES[name] for name in TAKEN}
    assert asked > 0
    assert server.asked.total() == asked
    manifest = station.storage.read(MANIFEST)
    assert manifest is not None
    assert {one["path"] for one in json.loads(manifest.data)["files"]} == TAKEN


def test_a_machine_that_has_them_asks_nobody(station: Station, server: FakeHub, tmp_path: Path) -> None:
    # given
    folder = machine(station, server, tmp_path).folder()
    station.client("s3").delete_object(Bucket=station.name, Key=MANIFEST)
    asked = server.asked.total()
    # when
    again = machine(station, server, tmp_path)
    # then
    assert again.folder() == folder
    assert server.asked.total() == asked


def test_another_process_of_the_machine_finds_them_as_a_folder(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    models = machine(station, server, tmp_path)
    folder = models.folder()
    told = models.on_this_machine
    assert FolderModels(told).folder() == folder
    assert (told.on_cpu, told.revision, told.token_secret) == (True, "", "")


def test_a_copy_without_its_manifest_is_none(station: Station, server: FakeHub, tmp_path: Path) -> None:
    """Its machine was taken away while it wrote."""
    station.storage.put(model_prefix(REPOSITORY, COMMIT) + "model.safetensors", b"half of")
    folder = machine(station, server, tmp_path).folder()
    assert contents(folder)["model.safetensors"] == FILES["model.safetensors"]
    assert contents(machine(station, server, tmp_path / "b").folder()) == contents(folder)


@pytest.mark.parametrize("harm", ["other bytes", "gone", "no manifest of ours"])
def test_a_damaged_copy_is_made_anew(station: Station, server: FakeHub, tmp_path: Path, harm: str) -> None:
    # given
    machine(station, server, tmp_path / "a").folder()
    key = model_prefix(REPOSITORY, COMMIT) + "config.json"
    if harm == "other bytes":
        station.storage.put(key, bytes(len(FILES["config.json"])))
    elif harm == "gone":
        station.client("s3").delete_object(Bucket=station.name, Key=key)
    else:
        station.storage.put(MANIFEST, b'{"version": 1, "files": [{"path": "../x", "size": 1, "sha256": "0"}]}')
    # when
    folder = machine(station, server, tmp_path / "b").folder()
    asked = server.asked.total()
    # then
    assert contents(folder) == {name: FILES[name] for name in TAKEN}
    assert contents(machine(station, server, tmp_path / "c").folder()) == contents(folder)
    assert server.asked.total() == asked, "the copy is whole again"


def test_what_came_before_an_interruption_is_not_fetched_again(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    # given
    folder = machine(station, server, tmp_path / "a").folder()
    part = tmp_path / "b" / folder.parent.name / f"{COMMIT}.part"
    part.mkdir(parents=True)
    (part / "model.safetensors").write_bytes(FILES["model.safetensors"])
    station.client("s3").delete_object(Bucket=station.name, Key=model_prefix(REPOSITORY, COMMIT) + "model.safetensors")
    asked = server.asked.total()
    # when
    again = machine(station, server, tmp_path / "b").folder()
    # then
    assert contents(again) == contents(folder)
    assert server.asked.total() == asked


def test_machines_that_start_together_all_get_them(station: Station, server: FakeHub, tmp_path: Path) -> None:
    fleet = [machine(station, server, tmp_path / str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        folders = list(threads.map(lambda one: one.folder(), fleet))
    assert all(contents(folder) == contents(folders[0]) for folder in folders)
    asked = server.asked.total()
    machine(station, server, tmp_path / "late").folder()
    assert server.asked.total() == asked


def test_a_file_lost_from_the_disk_is_noticed(station: Station, server: FakeHub, tmp_path: Path) -> None:
    folder = machine(station, server, tmp_path).folder()
    (folder / "config.json").write_bytes(b"{")
    assert contents(machine(station, server, tmp_path).folder())["config.json"] == FILES["config.json"]


def test_a_machine_keeps_one_model(station: Station, server: FakeHub, tmp_path: Path) -> None:
    old = tmp_path / "meadow--flowers" / ("e" * 40)
    old.mkdir(parents=True)
    (old / "model.safetensors").write_bytes(b"old")
    folder = machine(station, server, tmp_path).folder()
    assert folder.is_dir()
    assert not old.exists()


def test_a_bucket_that_takes_no_copy_does_not_keep_a_machine_from_working(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    folder = machine(station, server, tmp_path, s3=nowhere()).folder()
    assert contents(folder) == {name: FILES[name] for name in TAKEN}
    assert "weights_not_mirrored" in station.lines
    assert station.storage.read(MANIFEST) is None


def test_a_bucket_that_cannot_be_read_now_is_no_reason_to_ask_the_hub(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    """It would fail for want of a token that nobody needs any more, and say so."""
    machine(station, server, tmp_path / "a").folder()
    asked = server.asked.total()
    with pytest.raises(ModelError, match="the weights in the bucket cannot be read") as caught:
        machine(station, server, tmp_path / "b", s3=nowhere()).folder()
    assert not caught.value.is_final
    assert server.asked.total() == asked


def test_a_disk_that_is_too_small_is_told_before_the_download(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    huge = {"path": "model.safetensors", "size": 10**16, "sha256": "0" * 64}
    station.storage.put(MANIFEST, json.dumps({"version": 1, "files": [huge]}).encode())
    with pytest.raises(ModelError, match=r"takes 10000000\.0 GB.*compute\.volume_gb"):
        machine(station, server, tmp_path).folder()


def test_a_failure_is_told_again_without_asking_until_it_may_have_passed(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    # given
    server.gated = True
    clock = Clock()
    models = machine(station, server, tmp_path, clock=clock)
    with pytest.raises(ModelError):
        models.folder()
    asked = server.asked.total()
    # when
    with pytest.raises(ModelError, match="is gated"):
        models.folder()
    # then
    assert server.asked.total() == asked
    server.gated = False
    clock.now += REMEMBERED_S
    assert models.folder().is_dir()


def test_a_failure_that_is_remembered_holds_nothing_of_those_who_were_told(
    station: Station, server: FakeHub, tmp_path: Path
) -> None:
    class Pixels:
        """Of an image whose job needs the weights."""

    server.gated = True
    models = machine(station, server, tmp_path)
    held = []

    def ask() -> None:
        pixels = Pixels()
        held.append(weakref.ref(pixels))
        with contextlib.suppress(ModelError):
            models.folder()

    ask()
    ask()
    gc.collect()
    assert [one() for one in held] == [None, None]


def test_what_an_engine_keeps_is_there_for_the_next_machine(station: Station, server: FakeHub, tmp_path: Path) -> None:
    machine(station, server, tmp_path / "a").keep("sm90-torch2.13-1008.bin", b"compiled")
    other = machine(station, server, tmp_path / "b")
    assert other.kept("sm90-torch2.13-1008.bin") == b"compiled"
    assert other.kept("sm75-torch2.13-1008.bin") is None
    with pytest.raises(ValueError, match="cannot be kept"):
        other.keep("a/b", b"")
