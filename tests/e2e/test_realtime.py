"""An endpoint that answers at once, with two variants that share the requests: a job through it, and single images."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import Person, settle, standing

pytestmark = pytest.mark.exhaustive

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"
ROOMS = """
        [pipelines.rooms]
        kind = "endpoint"
        task = "detect-rooms"
        mode = "realtime"
        quiet_seconds = 2
        compute = { max_instances = 1 }
        variants = [{ name = "old", weight = 3 }, { name = "new", weight = 1 }]
"""


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with standing(settle(tmp_path_factory.mktemp("realtime"), name="live", pipelines=ROOMS)) as person:
        yield person


def test_a_job_goes_through_it_an_image_at_a_time(keeper: Person) -> None:
    job = keeper.types("submit", str(PLANS), "--project", "house", "--json").document["job"]
    view = keeper.types("watch", job, "--json").document
    assert (view["items"], view["done"], view["shards"]) == (3, 3, 3)

    # Each result names the variant that made it
    s3, bucket = keeper.client("s3"), keeper.bucket("rooms")
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=f"jobs/{job}/results/")["Contents"]]
    results = [json.loads(gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]
    assert len(results) == 3
    assert {result["engine"]["variant"] for result in results} <= {"old", "new"}
    assert all(result["machine"].startswith(result["engine"]["variant"] + "/") for result in results)


@pytest.mark.parametrize("variant", ["old", "new"])
def test_one_image_is_answered_by_the_variant_that_was_asked(keeper: Person, variant: str) -> None:
    answer = keeper.types("invoke", str(PLANS / "cottage.png"), "--variant", variant, "--json").document
    assert answer["variant"] == variant
    assert "polygon" in json.dumps(answer)


def test_weights_change_without_a_deployment(keeper: Person) -> None:
    file = keeper.folder / "gpupipe.toml"
    file.write_text(file.read_text().replace("weight = 3", "weight = 1"))
    steps = keeper.types("plan", "--json").document["steps"]
    changed = {(step["action"], step["kind"]) for step in steps if step["action"] != "keep"}
    assert changed == {("update", "endpoint")}
    keeper.types("up", "--yes")
    assert keeper.types("plan", "--json").document["changes"] == 0
