"""The same folder through every engine of `segment`, with one changed line; and an image of the map, on the map."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from tests.e2e.conftest import SEGMENT, Person, quiet_coco, settle, standing
from tests.tiny_sam3 import write_tiny_sam3

pytestmark = pytest.mark.exhaustive

PHOTOS = resources.files("gpupipe.examples") / "photos"
NAMES = ("OSBS_029.tif", "cat.jpg", "coffee_sideways.jpg")
PROMPT = "potted plant"
"""Something that each of the three engines takes."""


@pytest.fixture(scope="module")
def botanist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody with a folder of images, weights on their disk, and a stack."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "images").mkdir()
    for name in NAMES:
        (folder / "images" / name).write_bytes((PHOTOS / name).read_bytes())
    weights = write_tiny_sam3(folder / "weights")
    settings = f"""
        [pipelines.segment.task_options]
        engine = "nanodet"
        prompts = ["{PROMPT}"]
        score_threshold = 0.3
        [pipelines.segment.model]
        weights = "{weights}"
        """
    with standing(settle(folder, name="engines", pipelines=SEGMENT + settings)) as person:
        yield person


def by(person: Person, engine: str) -> Path:
    """The folder of images, fetched after one line of the configuration was changed."""
    out = person.folder / f"{engine}-results"
    if out.exists():
        return out
    config = person.folder / "gpupipe.toml"
    lines = config.read_text(encoding="utf-8").splitlines()
    [line] = [number for number, text in enumerate(lines) if text.strip().startswith("engine =")]
    lines[line] = f'        engine = "{engine}"'
    config.write_text("\n".join(lines), encoding="utf-8")
    person.types("up", "--yes")
    report = person.types("run", "images", "--project", engine, "-o", str(out), "--json").document
    assert (report["done"], report["failed"]) == (len(NAMES), 0)
    return out


@pytest.mark.parametrize("engine", ["nanodet", "vegetation", "sam3"])
def test_one_changed_line_is_another_engine(botanist: Person, engine: str) -> None:
    # when
    coco = quiet_coco(by(botanist, engine) / "annotations.json")
    # then
    assert coco.dataset["info"]["engine"]["name"] == engine
    assert {image["file_name"] for image in coco.imgs.values()} == set(NAMES)
    assert [category["name"] for category in coco.cats.values()] == [PROMPT]
    for annotation in coco.anns.values():
        assert int(coco.annToMask(annotation).sum()) == annotation["area"]


@pytest.mark.parametrize("engine", ["vegetation", "sam3"])
def test_it_finds_something_in_the_tree_crowns(botanist: Person, engine: str) -> None:
    coco = quiet_coco(by(botanist, engine) / "annotations.json")
    [image] = [image["id"] for image in coco.imgs.values() if image["file_name"] == "OSBS_029.tif"]
    assert coco.getAnnIds(imgIds=[image])


def test_what_it_found_lies_where_it_is_on_the_map(botanist: Person) -> None:
    # given
    results = by(botanist, "vegetation")
    coco = quiet_coco(results / "annotations.json")
    [image] = [image for image in coco.imgs.values() if image["file_name"] == "OSBS_029.tif"]
    annotations = coco.imgToAnns[image["id"]]
    # when
    [layer] = (results / "items").glob("OSBS_029*/instances_native.geojson")
    meta, _, shapes, fields = pyogrio.raw.read(layer)
    columns = dict(zip(meta["fields"], fields, strict=True))
    # then: the map's programs read every polygon, in the image's own reference system and inside it
    with rasterio.open(str(PHOTOS / "OSBS_029.tif")) as source:
        assert rasterio.crs.CRS.from_user_input(meta["crs"]) == source.crs
        bounds, metre = source.bounds, source.res[0]
    west, south, east, north = pyogrio.read_bounds(layer)[1]
    assert len(shapes) == len(annotations) > 0
    millimetre = 0.001
    assert min(west.min() - bounds.left, south.min() - bounds.bottom) > -millimetre
    assert min(bounds.right - east.max(), bounds.top - north.max()) > -millimetre
    # and the merged layer is in longitude and latitude
    assert "crs" not in json.loads((results / "instances.geojson").read_text())
    longitudes, latitudes = pyogrio.read_bounds(results / "instances.geojson")[1][:2]
    assert np.abs(longitudes + 81.99).max() < 0.001
    assert np.abs(latitudes - 29.6925).max() < 0.001
    # and areas are those of the pixels
    assert sorted(columns["area_m2"]) == pytest.approx(sorted(one["area"] * metre**2 for one in annotations), rel=0.01)
    # and the label image lies there too
    [labels] = (results / "items").glob("OSBS_029*/masks/*_masks.tif")
    with rasterio.open(labels) as written:
        assert written.bounds == bounds
        assert len(np.unique(written.read(1))) - 1 <= len(annotations)


def test_sam3_without_a_prompt_is_refused_before_anything_is_uploaded(botanist: Person) -> None:
    done = botanist.types(
        "submit", "images", "--project", "aimless", "--option", "engine=sam3", "--option", "prompts=", code=2
    )
    assert "prompt" in done.err
    assert botanist.jobs("aimless") == []


def test_auto_says_what_it_chose_and_why(botanist: Person) -> None:
    # given a machine without a GPU, and weights
    report = botanist.types(
        "run", "images", "--project", "auto", "-o", "auto-results", "--option", "engine=auto", "--json"
    ).document
    # then
    assert report["failed"] == 0
    info = json.loads((botanist.folder / "auto-results" / "annotations.json").read_text())["info"]
    assert info["engine"]["name"] == "nanodet"
    assert "there is no GPU" in info["engine"]["chosen"]
