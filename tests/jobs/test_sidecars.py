"""What lies beside images: found wherever images are, read before anything is uploaded, and carried by items."""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.desk import Desk, a_desk, a_photo

from gpupipe.errors import InputError, StoppedError, UsageError
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.sidecars import BYTES_MAX, read_sidecars
from gpupipe.jobs.submit import UNUSED, SubmittedJob, submit
from gpupipe.local.emulators import Emulators
from gpupipe.tasks.segment import SegmentOptions

SUFFIX = SegmentOptions.sidecar_suffix
MODEL = {"weights": "facebook/sam3", "revision": "0" * 40}
_numbers = itertools.count(1)
SAM3 = {"engine": "sam3", "prompts": ["tree"]}


def a_sidecar(image: Path, *boxes: Any) -> Path:
    place = image.with_name(image.name + SUFFIX)
    place.write_text(json.dumps({"boxes": [{"box": box} for box in boxes]}))
    return place


def found(*arguments: Path | str, suffix: str = SUFFIX) -> Inputs:
    suffixes = SegmentOptions.input_suffixes
    return collect([str(one) for one in arguments], suffixes=suffixes, project="p", sidecar_suffix=suffix)


def sidecars(inputs: Inputs) -> Mapping[str, Mapping[str, Any]]:
    return read_sidecars(inputs.sidecars, SegmentOptions(engine="sam3"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images, two of them with an example."""
    folder = tmp_path / "images"
    for name in ("a.jpg", "a.png", "deep/b c.jpg", "z.jpg"):
        a_photo(folder / name)
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    a_sidecar(folder / "a.png", [1, 2, 3, 4])
    a_sidecar(folder / "deep/b c.jpg", [5, 6, 7, 8])
    return folder


# --- found ---


def test_in_a_folder_each_belongs_to_the_image_of_its_whole_name(images: Path) -> None:
    inputs = found(images)
    assert [file.path for file in inputs.files] == ["a.jpg", "a.png", "deep/b c.jpg", "z.jpg"]
    assert {path: one["boxes"][0]["x"] for path, one in sidecars(inputs).items()} == {"a.png": 1, "deep/b c.jpg": 5}
    assert inputs.skipped == {}


def test_of_a_task_without_any_they_are_passed_over_as_other_files(images: Path) -> None:
    inputs = found(images, suffix="")
    assert (len(inputs.files), inputs.sidecars.by_path, inputs.skipped) == (4, {}, {"sidecar file": 2})


def test_by_pattern_by_name_and_by_the_shells_own_star(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(sidecars(found(images / "deep/b c.jpg"))) == {"b c.jpg"}
    assert set(sidecars(found(f"{images}/*.png"))) == {"a.png"}
    assert set(sidecars(found(f"{images}/**/*"))) == {"a.png", "deep/b c.jpg"}
    assert set(sidecars(found(*sorted(images.glob("*.*"))))) == {"a.png"}
    monkeypatch.chdir(images)
    assert set(sidecars(found("."))) == {"a.png", "deep/b c.jpg"}
    assert set(sidecars(found("*"))) == {"a.png", "deep/b c.jpg"}
    assert set(sidecars(found("./a.png", "deep"))) == {"a.png", "b c.jpg"}


def test_in_an_archive(images: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for place in images.rglob("*.*"):
            archive.write(place, f"field/{place.relative_to(images)}")
    inputs = found(tmp_path / "all.zip")
    assert len(inputs.files) == 4
    assert set(sidecars(inputs)) == {"field/a.png", "field/deep/b c.jpg"}


def test_beside_a_link_and_for_a_name_that_two_systems_write_differently(images: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "l.jpg").symlink_to(images / "z.jpg")
    a_sidecar(linked / "l.jpg", [9, 9, 9, 9])
    decomposed = "a\u0308.jpg"
    a_sidecar(a_photo(linked / decomposed), [1, 1, 1, 1])
    assert set(sidecars(found(linked))) == {"l.jpg", "\u00e4.jpg"}


def test_one_of_an_image_that_is_passed_over_is_passed_over(images: Path) -> None:
    (images / "broken.jpg").symlink_to(images / "nothing")
    a_sidecar(images / "broken.jpg", [1, 2, 3, 4])
    inputs = found(images)
    assert set(sidecars(inputs)) == {"a.png", "deep/b c.jpg"}
    assert inputs.skipped == {"broken link": 1}


# --- what is wrong with them ---


def test_one_beside_which_there_is_no_image_is_told(images: Path) -> None:
    misspelled = images / f"z{SUFFIX}"
    (images / f"a.png{SUFFIX}").rename(misspelled)
    with pytest.raises(InputError) as caught:
        sidecars(found(images))
    assert f"{misspelled} belongs to no input: there is no z beside it" in caught.value.message
    assert "named as its image with .prompts.json after it" in caught.value.hint


def test_all_mistakes_are_told_at_once_with_place_and_field(images: Path) -> None:
    (images / f"a.jpg{SUFFIX}").write_text("{")
    a_sidecar(images / "a.png", [1, 2, 0, 4])
    (images / f"z.jpg{SUFFIX}").write_bytes(b" " * (BYTES_MAX + 1))
    with pytest.raises(InputError) as caught:
        sidecars(found(images))
    message = caught.value.message
    assert "nothing was uploaded, because 3 files beside images cannot be used" in message
    assert f"{images}/a.jpg{SUFFIX}: it is not JSON of the form" in message
    assert f"{images}/a.png{SUFFIX}: boxes[0].box[2]: input should be greater than 0" in message
    assert f"{images}/z.jpg{SUFFIX}: it is longer than 1 MiB" in message


def test_very_many_mistakes_are_counted(images: Path) -> None:
    for number in range(9):
        a_sidecar(a_photo(images / f"{number}.jpg"), ["x"])
    with pytest.raises(InputError, match="and 4 more"):
        sidecars(found(images))


# --- in a job ---


@pytest.fixture
def trees(emulated: Emulators) -> Desk:
    """A pipeline whose model has weights."""
    return a_desk(emulated, f"trees{next(_numbers)}", task_options=SAM3, model=MODEL)


def sent(desk: Desk, *places: Path, **more: Any) -> SubmittedJob:
    return submit(desk.ctx, [str(place) for place in places], project="field7", **more)


def test_items_carry_what_lies_beside_their_images(trees: Desk, images: Path) -> None:
    job = sent(trees, images)
    assert (job.items, job.with_sidecar, job.skipped) == (4, 2, {})
    (shard,) = trees.shards(job.job)
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "is_positive": True, "prompt": ""}
    assert [dict(item.sidecar) for item in shard.items][:2] == [{}, {"boxes": [box]}]
    # and no sidecar was uploaded as an input
    assert all(key.endswith((".jpg", ".png")) for key in trees.keys("inputs/"))


def test_an_engine_that_looks_at_no_boxes_says_that_they_are_passed_over(desk: Desk, images: Path) -> None:
    (images / f"z.jpg{SUFFIX}").write_text("not even read")
    job = sent(desk, images)
    assert (job.with_sidecar, job.skipped) == (0, {UNUSED: 3})
    assert not any(item.sidecar for shard in desk.shards(job.job) for item in shard.items)


def test_a_stopped_submission_goes_on_and_another_box_is_another_job(trees: Desk, images: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        sent(trees, images, on_progress=lambda now: stop(now) if now.step == "start" else None)
    a_sidecar(images / "a.png", [2, 2, 3, 4])
    other = sent(trees, images)
    assert not other.is_resumed
    a_sidecar(images / "a.png", [1, 2, 3, 4])
    os.utime(images / f"a.png{SUFFIX}", (1, 1))
    same = sent(trees, images)
    assert same.is_resumed
    assert [item.sidecar["boxes"][0]["x"] for item in trees.shards(same.job)[0].items if item.sidecar] == [1, 5]


def test_a_job_without_an_aim_is_refused_before_anything_is_uploaded(trees: Desk, images: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to look for in 2 of 4 images \(a.jpg, z.jpg\)") as caught:
        sent(trees, images, assignments=["prompts="])
    assert "--prompt TEXT" in caught.value.hint
    assert "IMAGE.prompts.json" in caught.value.hint
    assert caught.value.exit_code == 2
    assert trees.keys() == []
    for name in ("a.jpg", "z.jpg"):
        a_sidecar(images / name, [1, 2, 3, 4])
    assert sent(trees, images, assignments=["prompts="]).with_sidecar == 4


def test_nothing_to_look_for_at_all_names_one_image_or_none(trees: Desk, images: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to look for in z\.jpg: there is no prompt"):
        sent(trees, images / "z.jpg", assignments=["prompts="])
    with pytest.raises(InputError, match="nothing to look for in any image: there is no prompt"):
        sent(trees, images / "z.jpg", images / "a.jpg", assignments=["prompts="])


def test_boxes_that_cannot_be_used_end_it_before_anything_is_uploaded(trees: Desk, images: Path) -> None:
    (images / f"z.jpg{SUFFIX}").write_text('{"boxes": [{"box": [0, 0, 5, 5], "prompt": "shrub"}]}')
    with pytest.raises(InputError, match="'shrub' is none of the job's prompts; they are tree"):
        sent(trees, images)
    assert trees.keys() == []


def test_sam3_on_a_pipeline_without_weights_is_refused_before_anything_is_uploaded(desk: Desk, images: Path) -> None:
    with pytest.raises(UsageError, match="pipeline segment names none") as caught:
        sent(desk, images, prompts=["tree"], assignments=["engine=sam3"])
    assert caught.value.exit_code == 2
    assert desk.keys() == []


def test_auto_tells_which_engine_it_will_be(desk: Desk, trees: Desk, images: Path) -> None:
    assert "nanodet here, because no weights" in sent(desk, images, assignments=["engine=auto"]).notice
    job = sent(trees, images, assignments=["engine=auto"])
    assert "sam3 on a machine with a GPU" in job.notice
    assert job.with_sidecar == 2
