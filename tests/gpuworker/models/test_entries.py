"""The worker's entries with weights: fetched before the first shard, or a reason that people read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.entries.serving.container import Container
from tests.gpuworker.entries.test_poll import Machine, outputs
from tests.gpuworker.imds import Service
from tests.gpuworker.models.fake_hub import COMMIT, FILES, REPOSITORY, TOKEN, FakeHub, fake_hub
from tests.gpuworker.station import PIPELINE, Station

from gpuworker.contract import ModelSource
from gpuworker.ledger import MachineRecord, MachineState

NEEDED: dict[str, Any] = {"needs_weights": True}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub that every process of this test asks."""
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def machine(station: Station) -> Iterator[Machine]:
    imds = Service()
    machine = Machine(station, imds)
    station.ledger.put_machine(launched())
    yield machine
    machine.close()
    imds.close()


def launched() -> MachineRecord:
    return MachineRecord(
        machine="i-0abc",
        pipeline=PIPELINE,
        instance_type="g4dn.xlarge",
        zone="us-east-1a",
        market="on-demand",
        launched_at=time.time(),
        run_started_at=time.time(),
        price_usd_per_hour=0.526,
    )


def known(station: Station) -> MachineRecord:
    record = station.ledger.machine(PIPELINE, "i-0abc")
    assert record is not None
    return record


def from_hub(station: Station, *, secret: bool = False) -> ModelSource:
    name = f"{station.name}/hf_token" if secret else ""
    return ModelSource(weights=REPOSITORY, revision=COMMIT, token_secret=name)


@pytest.mark.exhaustive  # apart: test_token.py, test_hub.py, and test_isolate.py for what runs in its own process
def test_weights_come_from_the_hub_with_the_secrets_token_and_suspects_find_them_too(
    station: Station, machine: Machine, server: FakeHub, tmp_path: Path
) -> None:
    # given a hub that wants a token, and an image that kills its process
    server.needs_token = True
    station.visibility_timeout_s = 3
    station.client("secretsmanager").create_secret(Name=f"{station.name}/hf_token", SecretString=TOKEN)
    diary = tmp_path / "diary"
    [shard] = station.job(["tree", "crash", "house"], diary=str(diary))
    settings: dict[str, Any] = {
        "model": from_hub(station, secret=True),
        "task_options": {**NEEDED, "diary": str(diary)},
    }
    # when the worker is started again after the crash
    assert machine.finish(shard, starts_at_most=2, **settings) == 2
    # then only that image failed, and its own process had the weights as well
    assert outputs(station, [shard]) == (["000", "002"], {"001": "killed_worker"})
    loads = [line for line in diary.read_text().splitlines() if line.startswith("load")]
    assert set(loads) == {f"load {FILES['config.json'].decode()}"}
    assert len(loads) >= 3, "twice the worker's own, and its child's"
    # and the token is in no log, no file of the machine and no object of the bucket
    assert server.tokens == {TOKEN}
    assert TOKEN not in machine.said
    for path in station.folder.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_a_secret_without_a_value_powers_the_machine_off_and_says_what_to_do(
    station: Station, machine: Machine, server: FakeHub
) -> None:
    # when
    status = machine.start(model=from_hub(station, secret=True), task_options=NEEDED).wait(60)
    # then the machine goes off at once, and the ledger knows why
    assert status == 0
    record = known(station)
    assert record.hopeless
    assert record.reason == "secret hf_token has no value: set the hub's token with `gpupipe secrets set hf_token`"
    failed = next(event for event in machine.events() if event["event"] == "worker_failed")
    assert failed["error"] == record.reason
    assert "traceback" not in failed
    # and the reason stays when the guard sees it off
    station.ledger.end_run(record, MachineState.STOPPED, stopped_at=time.time(), reason=record.reason)
    [run] = known(station).runs
    assert (run.hopeless, run.reason, run.shards) == (True, record.reason, 0)
    # until it runs again
    station.ledger.begin_run(known(station), time.time())
    assert not known(station).hopeless


@pytest.mark.exhaustive  # as where the secret has no value; the reason: test_a_container_without_its_weights_ends
def test_a_missing_folder_is_hopeless_too(station: Station, machine: Machine, tmp_path: Path) -> None:
    model = ModelSource(weights=str(tmp_path / "nowhere"))
    assert machine.start(model=model, task_options=NEEDED).wait(60) == 0
    assert known(station).hopeless
    assert f"there is no folder {tmp_path}/nowhere" in known(station).reason


def test_another_failure_to_begin_is_told_and_tried_again(station: Station, machine: Machine) -> None:
    assert machine.start(task_options={"cannot_load": True}).wait(60) == 1
    assert not known(station).hopeless
    assert known(station).reason == "RuntimeError: there is no such model"


def test_a_container_without_its_weights_ends_and_says_why(container: Container, tmp_path: Path) -> None:
    model = ModelSource(weights=str(tmp_path / "nowhere"))
    process = container.start(ready=False, model=model, task_options=NEEDED)
    assert process.wait(60) == 1
    assert "there is no folder" in container.events("worker_failed")[0]["error"]


def test_a_container_fetches_its_weights_before_it_is_ready(
    station: Station, container: Container, server: FakeHub
) -> None:
    container.start(model=from_hub(station), task_options=NEEDED)
    assert container.invoke(b"tree").status == 200
    assert container.events("weights_ready")[0]["source"] == "hub"
