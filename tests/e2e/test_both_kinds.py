"""Two pipelines of different kinds in one stack: photographs through a queue, floor plans through an endpoint."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import SEGMENT, Person, eventually, settle, speckled, standing

pytestmark = pytest.mark.exhaustive

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"
ROOMS = """
        [pipelines.rooms]
        kind = "endpoint"
        task = "detect-rooms"
        quiet_seconds = 2
        invocation_timeout_s = 60
        compute = { max_instances = 1 }
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose stack holds a `segment` and a `rooms` pipeline."""
    with standing(settle(tmp_path_factory.mktemp("both"), name="both", pipelines=SEGMENT + ROOMS)) as person:
        yield person


def test_both_kinds_work_side_by_side(owner: Person) -> None:
    # Given a job for each of the two pipelines, submitted at once
    plans = owner.types("submit", str(PLANS), "--pipeline", "rooms", "--project", "house", "--json").document
    photos = owner.types(
        "submit", str(speckled(owner.folder / "photos", 4)), "--pipeline", "segment", "--project", "field7", "--json"
    ).document

    # When both are watched to their end
    views = [owner.types("watch", job["job"], "--json").document for job in (plans, photos)]

    # Then both are done
    assert [(view["items"], view["failed"], view["state"]) for view in views] == [
        (3, 0, "finished"),
        (4, 0, "finished"),
    ]
    told = owner.types("logs", "--pipeline", "rooms", "--json").document
    assert {"endpoint", "dispatch"} <= {line["source"] for line in told}


def test_up_again_changes_nothing(owner: Person) -> None:
    assert owner.types("plan", "--json").document["changes"] == 0


def test_what_is_dropped_in_is_processed(owner: Person) -> None:
    s3, bucket = owner.client("s3"), owner.bucket("rooms")
    for plan in PLANS.glob("*.png"):
        s3.upload_file(str(plan), bucket, f"incoming/dropped/{plan.name}")

    def finished() -> object:
        jobs = owner.jobs("dropped")
        return sum(job["done"] for job in jobs) == 3 and all(job["state"] == "finished" for job in jobs)

    eventually("the dropped plans are done", finished)


def test_a_change_is_planned_as_it_will_happen(owner: Person) -> None:
    # Given another instance type
    file = owner.folder / "gpupipe.toml"
    before = file.read_text()
    file.write_text(before.replace("max_instances = 1 }", 'max_instances = 1, instance_types = ["ml.m5.2xlarge"] }'))

    # Then the plan replaces the config, keeps the model, and updates the endpoint
    plan = owner.types("plan", "--json").document
    told = json.dumps(plan)
    assert plan["changes"] > 0
    assert "endpoint-config/" in told
    owner.types("up", "--yes")
    assert owner.types("plan", "--json").document["changes"] == 0
    report = owner.types("run", str(PLANS), "--pipeline", "rooms", "--project", "changed", "--json").document
    assert report["done"] == 3


def test_it_comes_back_after_the_emulator_was_killed(owner: Person) -> None:
    # Given an emulator that forgot the endpoint, and nobody who noticed
    processes = owner.types("status", "--json").document["local"]["processes"]
    for one in processes:
        if one["name"] in ("supervisor", "moto"):
            os.kill(one["pid"], signal.SIGKILL)

    # Then the next command finds all of it, and the next job is done
    assert owner.types("plan", "--json").document["changes"] == 0
    report = owner.types("run", str(PLANS), "--pipeline", "rooms", "--project", "after", "--json").document
    assert report["done"] == 3
