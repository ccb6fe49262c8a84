"""The merged map layer: valid, its ids those of the merged COCO file, flat in memory, left alone while current."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from tests.jobs.finished_work import NOW, Work, a_fragment

from gpupipe.errors import IntegrityError
from gpupipe.jobs.fetch import fetch
from gpupipe.jobs.folder import LAYER, NATIVE_LAYER
from gpupipe.jobs.layer import Layer
from gpupipe.jobs.results import Commit, Outcome
from gpuworker.contract import Artifact, ItemResult

JOB, LATER = "20261121-113052-field7-1f3a", "20261122-080000-field7-77aa"
UTM = "EPSG:32617"
Images = Mapping[str, tuple[int, str | None]]
"""Path -> how many instances, and which system: None for one without a code, "" for no place at all."""
SQUARE = {"type": "Polygon", "coordinates": [[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]]}


def a_map(file_name: str, count: int, crs: str | None = UTM, warnings: Sequence[str] = ()) -> dict[str, Any]:
    fragment = a_fragment(file_name, scores=[0.9] * count)
    if crs != "":
        fragment["image"] |= {"crs": crs, "transform": [0.1, 0, 0, 0, -0.1, 0]}
    if warnings:
        fragment["image"]["warnings"] = list(warnings)
    return fragment


def its_layer(file_name: str, count: int, crs: str | None = None) -> bytes:
    """As a worker writes it; without a system, of longitudes and latitudes."""
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{str(crs)[5:]}"}}
    member = "" if crs is None else f'"crs":{json.dumps(named)},'
    features = [
        {"type": "Feature", "properties": {"id": number, "file_name": file_name}, "geometry": SQUARE}
        for number in range(1, count + 1)
    ]
    lines = ",\n".join(json.dumps(feature, separators=(",", ":")) for feature in features)
    return f'{{"type":"FeatureCollection",{member}"features":[\n{lines}\n]}}\n'.encode()


def commit(
    work: Work, number: int, images: Images, job: str = JOB, at: float = NOW, *, earlier: Collection[str] = ()
) -> None:
    """A worker's commit of these images; of `earlier` as an earlier version wrote it, in the image's own system."""

    def files(path: str) -> Mapping[str, bytes]:
        count, crs = images[path]
        native = its_layer(path, count, crs or "EPSG:0")
        if crs == "":
            return {}
        if path in earlier:
            return {LAYER: native}
        return {NATIVE_LAYER: native} | ({LAYER: its_layer(path, count)} if crs else {})

    fragments = {path: a_map(path, count, crs) for path, (count, crs) in images.items()}
    work.commit(job, number, fragments, files=files, at=at)


def ids(layer: Path) -> list[tuple[int, str]]:
    return [
        (one["properties"]["id"], one["properties"]["file_name"]) for one in json.loads(layer.read_text())["features"]
    ]


def one_job(work: Work, images: Images, *, earlier: Collection[str] = ()) -> None:
    work.submit(JOB, list(images))
    commit(work, 0, images, earlier=earlier)


def test_all_polygons_are_in_one_file_with_the_ids_of_the_merged_coco(work: Work, tmp_path: Path) -> None:
    # given
    work.submit(JOB, ["a.tif", "none.tif", "deep/b.tif"], ["c.tif"])
    commit(work, 1, {"c.tif": (1, UTM)})
    commit(work, 0, {"a.tif": (2, UTM), "none.tif": (0, UTM), "deep/b.tif": (3, UTM)})
    # when
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    # then
    assert report.layer == tmp_path / LAYER
    coco = json.loads(report.merged.read_text())
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert ids(tmp_path / LAYER) == [(one["id"], names[one["image_id"]]) for one in coco["annotations"]]
    assert coco["images"][0]["crs"] == UTM
    info = pyogrio.read_info(tmp_path / LAYER)
    assert (info["crs"], info["features"]) == ("EPSG:4326", 6)
    assert "crs" not in json.loads((tmp_path / LAYER).read_text())
    native = pyogrio.read_info(tmp_path / NATIVE_LAYER)
    assert (native["crs"], native["features"]) == (UTM, 6)


def test_a_second_fetch_leaves_it_alone(work: Work, tmp_path: Path) -> None:
    one_job(work, {"a.tif": (2, UTM), "b.tif": (1, UTM)})
    fetch(work.aws, job=JOB, folder=tmp_path)
    before = (tmp_path / LAYER).stat()
    again = fetch(work.aws, job=JOB, folder=tmp_path)
    assert again.layer == tmp_path / LAYER
    assert ((tmp_path / LAYER).stat().st_ino, (tmp_path / LAYER).stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_an_edited_one_and_a_deleted_one_are_made_again(work: Work, tmp_path: Path) -> None:
    one_job(work, {"a.tif": (2, UTM)})
    fetch(work.aws, job=JOB, folder=tmp_path)
    whole = (tmp_path / LAYER).read_bytes()
    (tmp_path / LAYER).write_bytes(b"{}")
    fetch(work.aws, job=JOB, folder=tmp_path)
    assert (tmp_path / LAYER).read_bytes() == whole
    (tmp_path / LAYER).unlink()
    (tmp_path / "items/a" / LAYER).unlink()
    fetch(work.aws, job=JOB, folder=tmp_path)
    assert (tmp_path / LAYER).read_bytes() == whole


def test_it_grows_with_the_job(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.tif"], ["b.tif"])
    commit(work, 0, {"a.tif": (2, UTM)})
    fetch(work.aws, job=JOB, folder=tmp_path)
    commit(work, 1, {"b.tif": (2, UTM)})
    fetch(work.aws, job=JOB, folder=tmp_path)
    assert ids(tmp_path / LAYER) == [(1, "a.tif"), (2, "a.tif"), (3, "b.tif"), (4, "b.tif")]


def test_images_of_several_systems_are_in_one_file(work: Work, tmp_path: Path) -> None:
    one_job(work, {"a.tif": (1, UTM), "b.tif": (2, "EPSG:25832"), "c.jpg": (1, "")})
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert report.layer == tmp_path / LAYER
    assert ids(tmp_path / LAYER) == [(1, "a.tif"), (2, "b.tif"), (3, "b.tif")]
    assert not (tmp_path / NATIVE_LAYER).exists()
    assert (tmp_path / "items/a" / NATIVE_LAYER).exists()


class TestOfAnEarlierVersion:
    """Its instances.geojson is in the image's own system, which must never pass for longitude and latitude."""

    def test_with_newer_ones_it_is_left_out_and_said(self, work: Work, tmp_path: Path) -> None:
        one_job(work, {"a.tif": (1, UTM), "b.tif": (2, UTM), "c.jpg": (1, "")}, earlier=["a.tif"])
        report = fetch(work.aws, job=JOB, folder=tmp_path)
        assert ids(tmp_path / LAYER) == [(2, "b.tif"), (3, "b.tif")]
        assert "without 1 of 3 images, which have no known reference system" in report.layer_note
        assert "without 1 of 3 images, which an earlier version of gpupipe has processed" in report.layer_note
        assert "submit them again" in report.layer_note

    def test_alone_it_is_merged_as_it_was_and_said(self, work: Work, tmp_path: Path) -> None:
        one_job(work, {"a.tif": (1, UTM), "b.tif": (2, UTM)}, earlier=["a.tif", "b.tif"])
        report = fetch(work.aws, job=JOB, folder=tmp_path)
        assert ids(tmp_path / LAYER) == [(1, "a.tif"), (2, "b.tif"), (3, "b.tif")]
        assert pyogrio.read_info(tmp_path / LAYER)["crs"] == UTM
        assert report.layer_note.startswith("in EPSG:32617, not in longitude and latitude")

    def test_of_several_systems_it_is_not_merged(self, work: Work, tmp_path: Path) -> None:
        one_job(work, {"a.tif": (1, UTM), "b.tif": (1, "EPSG:25832")}, earlier=["a.tif", "b.tif"])
        report = fetch(work.aws, job=JOB, folder=tmp_path)
        assert report.layer is None
        assert "2 reference systems (EPSG:25832, EPSG:32617)" in report.layer_note
        assert not (tmp_path / LAYER).exists()
        assert (tmp_path / "items/a" / LAYER).exists()


@pytest.mark.parametrize("elsewhere", ["", None], ids=["a photograph", "a system without a code"])
def test_what_is_nowhere_on_the_map_is_left_out_and_said(work: Work, tmp_path: Path, elsewhere: str | None) -> None:
    one_job(work, {"a.jpg": (2, elsewhere), "b.tif": (2, UTM)})
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert report.layer == tmp_path / LAYER
    assert report.layer_note == "without 1 of 2 images, which have no known reference system"
    assert ids(tmp_path / LAYER) == [(3, "b.tif"), (4, "b.tif")]


def test_photographs_have_none_and_nothing_is_said(work: Work, tmp_path: Path) -> None:
    one_job(work, {"a.jpg": (1, ""), "b.jpg": (2, "")})
    report = fetch(work.aws, job=JOB, folder=tmp_path)
    assert (report.layer, report.layer_note) == (None, "")


def test_one_that_is_no_longer_true_is_taken_away(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.tif"], ["b.tif"])
    commit(work, 0, {"a.tif": (1, UTM)})
    assert fetch(work.aws, job=JOB, folder=tmp_path).layer is not None
    assert (tmp_path / NATIVE_LAYER).exists()
    commit(work, 1, {"b.tif": (1, "EPSG:25832")})
    assert fetch(work.aws, job=JOB, folder=tmp_path).layer is not None
    assert not (tmp_path / NATIVE_LAYER).exists()


def test_of_a_project_it_holds_the_newest_result_of_each_image(work: Work, tmp_path: Path) -> None:
    work.submit(JOB, ["a.tif", "b.tif"])
    commit(work, 0, {"a.tif": (2, UTM), "b.tif": (1, UTM)})
    work.submit(LATER, ["a.tif"], at=NOW + 9)
    commit(work, 0, {"a.tif": (1, UTM)}, job=LATER, at=NOW + 20)
    fetch(work.aws, project="field7", folder=tmp_path)
    assert sorted(ids(tmp_path / LAYER)) == [(1, "b.tif"), (2, "a.tif")]


def test_a_lost_file_is_told_and_the_older_layer_stays(work: Work, tmp_path: Path) -> None:
    one_job(work, {"a.tif": (1, UTM)})
    fetch(work.aws, job=JOB, folder=tmp_path)
    (tmp_path / "items/a" / LAYER).unlink()
    versions = work.s3.list_object_versions(Bucket=work.bucket, Prefix=f"processed/field7/{JOB}/a/{LAYER}")["Versions"]
    for one in versions:
        work.s3.delete_object(Bucket=work.bucket, Key=one["Key"], VersionId=one["VersionId"])
    with pytest.raises(IntegrityError, match="1 file"):
        fetch(work.aws, job=JOB, folder=tmp_path)
    assert ids(tmp_path / LAYER) == [(1, "a.tif")]


def test_a_file_that_no_worker_wrote_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "edited.geojson"
    path.write_bytes(its_layer("a.tif", 1).replace(b'"type":"Feature",', b'"type": "Feature",'))
    with ExitStack() as stack:
        layer = Layer(stack, tmp_path)
        layer.add(an_outcome(1), path)
        with pytest.raises(IntegrityError, match=r"edited\.geojson") as caught:
            layer.write(tmp_path)
    assert "fetch again" in str(caught.value.hint)
    assert not (tmp_path / LAYER).exists()


def an_outcome(count: int) -> Outcome:
    artifacts = {LAYER: Artifact(key="k", size=1, sha256="s", version_id="")}
    result = ItemResult(output="a", key="inputs/p/a", etag="", artifacts=artifacts, fragment=a_map("a.tif", count))
    return Outcome(commit=Commit(job=JOB, number=0, generation=0, finished_at=NOW), result=result)


def test_memory_does_not_grow_with_the_number_of_polygons(tmp_path: Path) -> None:
    path, folder = tmp_path / "one.geojson", tmp_path / "out"
    path.write_bytes(its_layer("a.tif", 2000))
    outcome = an_outcome(2000)

    def peak_bytes(images: int) -> int:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with ExitStack() as stack:
            layer = Layer(stack, tmp_path)
            for _ in range(images):
                layer.add(outcome, path)
            assert layer.write(folder) is not None
        (folder / LAYER).unlink()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = peak_bytes(1), peak_bytes(10)
    finally:
        tracemalloc.stop()
    assert many < few + 100_000


def test_later_pages_of_a_file_are_on_the_map_with_the_ids_of_the_merged_file(tmp_path: Path) -> None:
    first, second = tmp_path / LAYER, tmp_path / "pages/2" / LAYER
    second.parent.mkdir(parents=True)
    for path, count in ((first, 2), (second, 1)):
        path.write_bytes(its_layer("a.tif", count))
        path.with_name(NATIVE_LAYER).write_bytes(its_layer("a.tif", count))
    fragment = a_map("a.tif", 2) | {"more": [a_map("a.tif", 1)]}
    names = [LAYER, NATIVE_LAYER, f"pages/2/{LAYER}", f"pages/2/{NATIVE_LAYER}"]
    artifacts = {name: Artifact(key="k", size=1, sha256="s", version_id="") for name in names}
    result = ItemResult(output="a", key="inputs/p/a", etag="", artifacts=artifacts, fragment=fragment)
    with ExitStack() as stack:
        layer = Layer(stack, tmp_path)
        layer.add(Outcome(commit=an_outcome(1).commit, result=result), first)
        merged = layer.write(tmp_path / "out")
    assert merged is not None
    features = json.loads(merged.read_text())["features"]
    assert [feature["properties"]["id"] for feature in features] == [1, 2, 3]
