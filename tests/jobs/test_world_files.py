"""World files beside images: found under GDAL's names, read before anything is uploaded, and carried by items."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyproj import CRS
from tests.jobs.desk import Desk, a_photo

from gpupipe.errors import InputError
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.passed_over import ALONE
from gpupipe.jobs.submit import submit
from gpupipe.jobs.world_files import BYTES_MAX, Read, read_places, read_prj, read_world
from gpupipe.tasks.detect_rooms import DetectRoomsOptions
from gpupipe.tasks.segment import SegmentOptions
from gpuworker.contract import WORLD_SUFFIXES, is_world_file

WORLD = "0.1\n0\n0\n-0.1\n404211.95\n3285142.85\n"
TRANSFORM = [0.1, 0.0, 404211.9, 0.0, -0.1, 3285142.9]
PRJ = 'PROJCS["WGS_1984_UTM_Zone_17N",GEOGCS["GCS_WGS_1984"],UNIT["Meter",1.0]]'


def found(*arguments: Path | str, **more: Any) -> Inputs:
    options = {"suffixes": SegmentOptions.input_suffixes, "takes_places": True, **more}
    return collect([str(one) for one in arguments], project="p", **options)


def said(inputs: Inputs) -> Mapping[str, Any]:
    read = read_places(inputs.places)
    assert read.mistakes == []
    return {path: one["world"] for path, one in read.by_path.items()}


def mistakes(inputs: Inputs) -> Read:
    return read_places(inputs.places)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("a.jpg", "deep/b.png", "z.tif"):
        a_photo(folder / name)
    (folder / "deep/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "z.tif").write_bytes(b"II*\0")
    (folder / "a.jgw").write_text(WORLD)
    (folder / "deep/b.pgw").write_text(WORLD)
    (folder / "deep/b.prj").write_text(PRJ)
    return folder


# --- found ---


def test_in_a_folder_each_belongs_to_the_image_of_its_name(images: Path) -> None:
    inputs = found(images)
    assert [file.path for file in inputs.files] == ["a.jpg", "deep/b.png", "z.tif"]
    assert said(inputs) == {
        "a.jpg": {"transform": pytest.approx(TRANSFORM)},
        "deep/b.png": {"transform": pytest.approx(TRANSFORM), "system": PRJ},
    }
    assert inputs.skipped == {}


@pytest.mark.parametrize("capitals", [False, True])
@pytest.mark.parametrize(("image", "world"), [(one, two) for one in WORLD_SUFFIXES for two in WORLD_SUFFIXES[one]])
def test_under_every_name_of_gdals(tmp_path: Path, image: str, world: str, capitals: bool) -> None:
    a_photo(tmp_path / f"a{image}")
    (tmp_path / f"a{world.upper() if capitals else world}").write_text(WORLD)
    assert set(said(found(tmp_path))) == {f"a{image}"}
    assert set(said(found(f"{tmp_path}/*{image}"))) == {f"a{image}"}


class TestCapitals:
    """On a disk of Windows or macOS `Field.JPG` and `field.jgw` belong together, and people bring such folders."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "from windows"
        a_photo(folder / "Field.JPG")
        (folder / "field.jGw").write_text(WORLD)
        (folder / "FIELD.Prj").write_text(PRJ)
        return folder

    def test_of_one_name_make_no_difference(self, folder: Path) -> None:
        (folder / "FIELD.Prj").rename(folder / "field.Prj")
        for arguments in ([folder], [folder / "Field.JPG"], [f"{folder}/*.JPG"], sorted(folder.iterdir())):
            inputs = found(*arguments)
            assert set(said(inputs)["Field.JPG"]) == {"transform", "system"}
            assert inputs.skipped == {}

    def test_of_two_names_decide(self, folder: Path) -> None:
        a_photo(folder / "field.jpg")
        for arguments in ([folder], [folder / "Field.JPG", folder / "field.jpg"]):
            assert set(said(found(*arguments))) == {"field.jpg"}
        assert said(found(folder / "Field.JPG")) == {}

    def test_that_fit_two_are_told(self, folder: Path) -> None:
        a_photo(folder / "FIeld.jpg")
        inputs = found(folder)
        assert said(inputs) == {}
        assert inputs.skipped == {"world file or .prj that places no image": 2}
        assert [Path(one).name for one in inputs.skipped_names[ALONE]] == ["FIELD.Prj", "field.jGw"]


def test_by_name_by_the_shells_own_star_and_in_an_archive(images: Path, tmp_path: Path) -> None:
    assert set(said(found(images / "a.jpg"))) == {"a.jpg"}
    assert set(said(found(*sorted((images / "deep").iterdir())[::-1]))) == {"b.png"}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for one in images.rglob("*.*"):
            archive.write(one, one.relative_to(images))
    inputs = found(tmp_path / "all.zip")
    assert set(said(inputs)) == {"a.jpg", "deep/b.png"}
    assert inputs.skipped == {}


def test_gdal_s_first_name_counts_and_the_others_are_told(images: Path) -> None:
    (images / "a.wld").write_text(WORLD.replace("404211", "1"))
    inputs = found(images)
    assert said(inputs)["a.jpg"]["transform"] == pytest.approx(TRANSFORM)
    assert inputs.skipped == {"second world file of an image": 1}


def test_those_that_place_nothing_are_told(images: Path) -> None:
    (images / "nobody.pgw").write_text(WORLD)
    (images / "a.tfw").write_text(WORLD)
    (images / "deep/b.png.aux.xml").write_text("<PAMDataset/>")
    (images / "z.prj").write_text(PRJ)
    a_photo(images / "c.jpg")
    (images / "c.prj").write_text(PRJ)
    inputs = found(images)
    assert said(inputs)["z.tif"] == {"system": PRJ}  # a TIFF may have a place and no system
    assert "c.jpg" not in said(inputs)
    assert inputs.skipped == {
        "second world file of an image": 1,
        "world file or .prj that places no image": 2,
        "GDAL's .aux.xml, of which no place is read (a world file is)": 1,
    }


def test_a_task_that_places_nothing_passes_them_over_as_before(images: Path) -> None:
    assert not DetectRoomsOptions.takes_places
    inputs = found(images, takes_places=False)
    assert (inputs.places.by_path, inputs.skipped) == ({}, {"sidecar file": 3})


def test_a_link_to_who_knows_what_is_not_read(images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(WORLD)
    (images / "a.jgw").unlink()
    (images / "a.jgw").symlink_to(tmp_path / "secret")
    for inputs in (found(images), found(images / "a.jpg")):
        assert "a.jpg" not in said(inputs)
        assert inputs.skipped == {"link to what is no image": 1}


def test_a_link_inside_the_folder_is_followed(images: Path) -> None:
    (images / "a.jgw").rename(images / "place.txt")
    (images / "a.jgw").symlink_to("place.txt")
    assert "a.jpg" in said(found(images))
    assert "a.jpg" in said(found(images / "a.jpg"))


def test_a_pipe_is_not_waited_for(images: Path) -> None:
    (images / "a.jgw").unlink()
    os.mkfifo(images / "a.jgw")
    assert "a.jpg" not in said(found(images / "a.jpg"))
    assert found(images).skipped == {"not a file": 1}


# --- read ---


def test_the_numbers_are_of_the_first_pixels_middle() -> None:
    assert read_world(WORLD.encode()) == pytest.approx(TRANSFORM)
    assert read_world(b"\xef\xbb\xbf2\r\n1\r\n-1\r\n-2\r\n10.5\r\n20.5\r\n\r\n") == [2, -1, 10, 1, -2, 21]
    assert read_world("1e-1\n0\n0\n-.1\n4.5E5\n+3.\n".encode("utf-16"))[:2] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("", "line 1", "six numbers"),
        ("0.1\n0\n0\n-0.1\n404211.95\n", "line 6", "is missing"),
        ("0.1\n0\n0\n-0.1\neast\n1\n", "line 5", "'east' is no number"),
        ("0,1\n0\n0\n-0,1\n4\n1\n", "line 1", "with a point, not a comma"),
        ("0.1\n0\n0\nnan\n4\n1\n", "line 4", "'nan' is no number"),
        ("0.1\n0\n0\n-0.1\n1e400\n1\n", "line 5", "beyond all places"),
        ("0.1\n\n0\n0\n-1_0\n4\n1\n", "line 5", "'-1_0' is no number"),
        ("0\n0\n0\n0\n4\n1\n", "lines 1 to 4", "no area"),
        ("0.1 0 0 -0.1 4 1\n", "line 1", "is no number"),
    ],
)
def test_a_broken_one_is_told_with_line_and_remedy(text: str, line: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        read_world(text.encode())
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    "text",
    [PRJ, f"  {PRJ}\r\n", 'GEOGCRS["a ] b",\nDATUM["c (d"]]', "EPSG:25832", 'COMPD_CS["x"]', "projcrs [ ]"],
)
def test_a_system_is_wkt_of_any_kind_or_a_code(text: str) -> None:
    assert read_prj(text.encode()) == text.strip()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("epsg:25832\n", "EPSG:25832"),
        ("EPSG::25832", "EPSG:25832"),
        ("EPSG: 25832", "EPSG:25832"),
        ("urn:ogc:def:crs:EPSG:9.8:25832", "EPSG:25832"),
        ("ESRI:102003", "ESRI:102003"),
    ],
)
def test_a_code_may_be_written_in_many_ways(text: str, code: str) -> None:
    assert read_prj(text.encode()) == code


def test_a_system_may_be_projjson() -> None:
    text = CRS.from_epsg(32617).to_json(pretty=True)
    assert CRS.from_user_input(read_prj(text.encode())) == CRS.from_epsg(32617)


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        (b'{"type":\n"ProjectedCRS"', "line 2", "begins as JSON and is none"),
        (b'{"type": "FeatureCollection"}', "line 1", "no PROJJSON"),
        (b"", "line 1", "it is empty"),
        (b"Projection UTM\nZone 17\n", "line 1", "EPSG:CODE"),
        (b'PROJCS["a",\nGEOGCS["b"]', "line 2", "do not close"),
        (b'PROJCS["a"]\n]', "line 2", "do not close"),
        (b'PROJCS["a]', "line 1", "do not close"),
        (b"\x89PNG\r\n", "line 1", "begins no reference system"),
    ],
)
def test_a_system_that_is_none_is_told_with_line_and_remedy(text: bytes, line: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        read_prj(text)
    assert str(caught.value).startswith(line)


def test_a_very_long_one_is_not_read(images: Path) -> None:
    (images / "a.jgw").write_text("1" * (BYTES_MAX + 1))
    assert "longer than 16 KiB" in read_places(found(images).places).mistakes[0]


def test_one_that_two_images_share_is_told_once(images: Path) -> None:
    a_photo(images / "a.png")
    (images / "a.jgw").rename(images / "a.wld")
    assert set(said(found(images))) == {"a.jpg", "a.png", "deep/b.png"}
    (images / "a.wld").write_text("nonsense")
    assert len(read_places(found(images).places).mistakes) == 1


# --- submitted ---


def test_items_carry_the_place_whatever_the_engine(desk: Desk, images: Path) -> None:
    job = submit(desk.ctx, [str(images)], project="field7")
    assert (job.items, job.with_place, job.with_sidecar, job.skipped) == (3, 2, 0, {})
    (shard,) = desk.shards(job.job)
    worlds = [item.sidecar.get("world") for item in shard.items]
    assert worlds[0] == {"transform": pytest.approx(TRANSFORM)}
    assert worlds[1] == {"transform": pytest.approx(TRANSFORM), "system": PRJ}
    assert worlds[2] is None
    assert all(key.endswith((".jpg", ".png", ".tif")) for key in desk.keys("inputs/"))


def test_a_broken_one_ends_it_before_anything_is_uploaded(desk: Desk, images: Path) -> None:
    (images / "a.jgw").write_text("0.1\n0\n0\n-0.1\neast\n1\n")
    with pytest.raises(InputError, match=r"a\.jgw: line 5: 'east' is no number") as caught:
        submit(desk.ctx, [str(images)], project="field7")
    assert "nothing was uploaded" in caught.value.message
    assert "without a place" in caught.value.hint
    assert desk.keys() == []


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.pgw", True), ("b/a.PRJ", True), ("a.tiffw", True), (".prj", False), ("pgw", False), ("a.txt", False)],
)
def test_what_is_one_by_its_name(name: str, is_one: bool) -> None:
    assert is_world_file(name) is is_one
