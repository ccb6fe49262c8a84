"""A container that dies, a model that hangs, and notifications that come twice: each ends as an endpoint's should."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Person, poison, settle, standing
from tests.e2e.poisoned.poisoned_rooms import HANGS, KILLS

pytestmark = pytest.mark.exhaustive

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"
ROOMS = """
        [pipelines.rooms]
        kind = "endpoint"
        task = "detect-rooms"
        quiet_seconds = 2
        invocation_timeout_s = 20
        compute = { max_instances = 1 }
"""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A stack whose endpoint's containers can be poisoned."""
    person = settle(tmp_path_factory.mktemp("endpoint-victim"), name="hurt", pipelines=ROOMS)
    with standing(poison(person)):
        yield person


def plans(folder: Path, **marks: bytes) -> Path:
    """Copies of one plan, some with a mark at the end, which no decoder reads."""
    folder.mkdir(parents=True)
    pixels = next(iter(sorted(PLANS.glob("*.png")))).read_bytes()
    for name, mark in {"good": b"", "fine": b"", **marks}.items():
        (folder / f"{name}.png").write_bytes(pixels + mark)
    return folder


def run(person: Person, folder: Path, project: str) -> tuple[Any, dict[str, tuple[str, str]]]:
    """The report of a job of which something fails, and the failures by name."""
    report = person.types("run", str(folder), "--project", project, "-o", f"{project}-out", "--json", code=3).document
    told = json.loads((person.folder / f"{project}-out" / "failures.json").read_text())
    return report, {one["file_name"]: (one["code"], one["message"]) for one in told}


def test_a_container_that_dies_fails_the_culprit_alone_and_retry_mends_it(victim: Person) -> None:
    folder = plans(victim.folder / "crash", killer=KILLS)
    report, failures = run(victim, folder, "crash")
    assert (report["done"], report["failed"]) == (2, 1)
    assert failures["killer.png"][0] == "killed_worker"
    assert failures["killer.png"][1]

    # `retry` sends the failed one again, and what was done is neither done nor fetched again
    [job] = [one["job"] for one in victim.jobs("crash")]
    victim.types("retry", job, "--failed")
    view = victim.types("watch", job, "--json", code=3).document
    assert (view["generation"], view["done"], view["failed"]) == (1, 2, 1)


def test_a_model_that_hangs_is_a_time_out_of_its_item(victim: Person) -> None:
    report, failures = run(victim, plans(victim.folder / "hang", endless=HANGS), "hang")
    assert (report["done"], report["failed"]) == (2, 1)
    assert failures["endless.png"][0] == "timeout"


def test_a_notification_that_comes_twice_counts_once(victim: Person) -> None:
    # Given a finished job, and the notification of a failure of its only shard
    done = victim.types("run", str(PLANS), "--project", "twice", "--json").document
    [job] = [one["job"] for one in victim.jobs("twice")]
    bucket = victim.bucket("rooms")
    sns = victim.client("sns")
    topic = next(one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith("rooms-errors"))
    notification = {
        "awsRegion": "us-east-1",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "invocationStatus": "Failed",
        "failureReason": "ClientError: it comes late",
        "requestParameters": {
            "endpointName": "hurt-dev-rooms-endpoint",
            "inputLocation": f"s3://{bucket}/jobs/{job}/shards/00000.json",
        },
        "inferenceId": f"{job}.0.0",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }

    # When it comes twice
    for _ in range(2):
        sns.publish(TopicArn=topic, Message=json.dumps(notification))
    time.sleep(3)

    # Then nothing has changed
    view = victim.types("watch", job, "--json").document
    assert (view["state"], view["done"], view["failed"]) == ("finished", done["done"], 0)
