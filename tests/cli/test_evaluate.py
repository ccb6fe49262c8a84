"""`gpupipe evaluate`, typed: the table, the document, the plot, and what is said where something is missing."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import Typed, Types
from tests.evaluation.made import document, scattered, written


@pytest.fixture
def files(folder: Path) -> tuple[Path, Path]:
    """A folder of results and a truth in COCO's form."""
    truth, results = scattered(3)
    (folder / "results").mkdir()
    return written(folder / "results" / "annotations.json", results).parent, written(folder / "truth.json", truth)


def test_a_table_for_people(types: Types, files: tuple[Path, Path]) -> None:
    shown = types("evaluate", str(files[0]), "--truth", str(files[1]))
    assert shown.code == 0
    head, _, *rows = shown.out.splitlines()
    assert " ".join(head.split()) == "category true found AP AP50 AP75 AR precision recall mean IoU"
    assert [row.split()[0] for row in rows if row[:1].isalpha()] == ["shrub", "tree", "all"]
    assert "4 images, masks; mean IoU of those that match: 0." in shown.out


def test_a_document_for_programs(types: Types, files: tuple[Path, Path]) -> None:
    shown = types("evaluate", str(files[0]), "--truth", str(files[1]), "--iou-type", "bbox", "--json")
    assert shown.code == 0
    told = shown.document
    assert (told["images"], told["iou_type"], told["max_detections"], told["plot"]) == (4, "bbox", 100, None)
    assert told["ap"] == pytest.approx(sum(one["ap"] for one in told["categories"]) / 2)
    assert {one["category"] for one in told["categories"]} == {"tree", "shrub"}


def test_what_does_not_count_is_named(types: Types, folder: Path) -> None:
    box = (1.0, 1.0, 9.0, 9.0)
    truth = written(folder / "t.json", document([("a.png", "tree", box), ("lost.png", "tree", box)]))
    results = written(folder / "r.json", document([("a.png", "tree", box), ("a.png", "car", box)], images=["more.png"]))
    shown = types("evaluate", str(results), "--truth", str(truth), "--json")
    assert shown.document["images_only_in_truth"] == ["lost.png"]
    assert shown.document["images_only_in_results"] == ["more.png"]
    assert shown.document["categories_only_in_results"] == {"car": 1}
    for words in ("truth, and have no result: lost.png", "results: more.png", "1 instance of 'car'"):
        assert words in " ".join(shown.err.split())


class TestNames:
    BOX = (1.0, 1.0, 9.0, 9.0)
    ROBOFLOW = f"roof_png.rf.{'0123456789abcdef' * 2}.jpg"
    AUGMENTED = (f"barn_png.rf.{'0' * 32}.jpg", f"barn_png.rf.{'1' * 32}.jpg")

    def held(self, types: Types, folder: Path, truth: Sequence[str], results: Sequence[str], *more: str) -> Typed:
        files = [
            written(folder / f"{side}.json", document([(name, "tree", self.BOX) for name in names]))
            for side, names in (("r", results), ("t", truth))
        ]
        return types("evaluate", str(files[0]), "--truth", str(files[1]), *more)

    def test_rules_are_said(self, types: Types, folder: Path) -> None:
        truth = ["images\\cb0618f6-name.png", self.ROBOFLOW, "same.png", "scan.jpg"]
        results = ["x/name.png", "x/roof.png", "same.png", "x/scan.tif"]
        shown = self.held(types, folder, truth, results)
        assert shown.code == 0
        for words in (
            "1 image matched by the name without Label Studio's eight digits: images\\cb0618f6-name.png is x/name.png.",
            f"1 image matched by the name that Roboflow made another of: {self.ROBOFLOW} is x/roof.png.",
            "without Resize and augmentations",
            "1 image matched by the name without its suffix: scan.jpg is x/scan.tif.",
        ):
            assert words in " ".join(shown.err.split())
        told = self.held(types, folder, truth, results, "--json").document
        assert (told["images"], told["recall"], told["ambiguous"]) == (4, 1.0, [])
        assert {rule: one["images"] for rule, one in told["matched_by"].items()} == dict.fromkeys(
            ("label_studio", "roboflow", "name", "stem"), 1
        )
        assert told["matched_by"]["stem"]["examples"] == [{"truth": "scan.jpg", "result": "x/scan.tif"}]

    def test_what_is_not_plain_is_named_and_left_out(self, types: Types, folder: Path) -> None:
        shown = self.held(types, folder, ["a.png", *self.AUGMENTED], ["a.png", "barn.png"], "--json")
        assert shown.document["images"] == 1
        assert shown.document["ambiguous"] == [{"truth": list(self.AUGMENTED), "results": ["barn.png"]}]
        assert f"not plain which is which: {', '.join(self.AUGMENTED)} of the truth could be barn.png" in " ".join(
            shown.err.split()
        )
        assert "only in the" not in shown.err, "they are named already"

    def test_the_very_same_names_need_no_word(self, types: Types, folder: Path) -> None:
        assert self.held(types, folder, ["a.png", "b.png"], ["a.png", "b.png"]).err == ""

    def test_crowds_are_counted(self, types: Types, folder: Path) -> None:
        truth = document([("a.png", "tree", self.BOX), ("a.png", "tree", (50.0, 50.0, 9.0, 9.0))])
        truth["annotations"][0]["iscrowd"] = 1
        results = written(folder / "r.json", document([("a.png", "tree", (50.0, 50.0, 9.0, 9.0))]))
        shown = types("evaluate", str(results), "--truth", str(written(folder / "t.json", truth)), "--iou-type", "bbox")
        assert "1 object of the truth marked as crowds (iscrowd 1) do not count." in " ".join(shown.err.split())

    def test_why_boxes_are_compared_is_said(self, types: Types, folder: Path) -> None:
        truth = document([("a.png", "tree", self.BOX), ("a.png", "tree", (50.0, 50.0, 9.0, 9.0))])
        truth["annotations"][0]["segmentation"] = []  # a rectangle among polygons, as Label Studio exports it
        results = written(folder / "r.json", document([("a.png", "tree", self.BOX)]))
        shown = types("evaluate", str(results), "--truth", str(written(folder / "t.json", truth)))
        assert "1 object of the truth without a mask: boxes are compared" in " ".join(shown.err.split())

    def test_a_flat_segmentation_is_named(self, types: Types, folder: Path) -> None:
        truth = document([("a.png", "tree", self.BOX)])
        truth["annotations"][0]["segmentation"] = truth["annotations"][0]["segmentation"][0]
        results = written(folder / "r.json", document([("a.png", "tree", self.BOX)]))
        shown = types("evaluate", str(results), "--truth", str(written(folder / "t.json", truth)), "--json")
        assert shown.code == 2
        assert "annotation 1 of a.png has a flat segmentation" in shown.document["error"]["message"]


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG"), ("c.svg", b"<?xml"), ("c.pdf", b"%PDF")])
def test_a_plot_in_the_format_that_its_name_says(
    types: Types, files: tuple[Path, Path], folder: Path, name: str, start: bytes
) -> None:
    shown = types("evaluate", str(files[0]), "--truth", str(files[1]), "--plot", name)
    assert shown.code == 0
    assert (folder / name).read_bytes().startswith(start)
    assert f"plot: {name}" in shown.out


def test_a_plot_is_the_same_each_time_and_large_enough_to_read(
    types: Types, files: tuple[Path, Path], folder: Path
) -> None:
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        types("evaluate", str(files[0]), "--truth", str(files[1]), "--plot", name)
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    assert (folder / "a.svg").read_bytes() == (folder / "b.svg").read_bytes()
    assert min(struct.unpack(">II", (folder / "a.png").read_bytes()[16:24])) >= 700


@pytest.mark.parametrize("plot", ["curve.gif", "curve", "nowhere/curve.png"])
def test_a_plot_that_cannot_be_is_refused_before_any_work(types: Types, files: tuple[Path, Path], plot: str) -> None:
    shown = types("evaluate", "no such results", "--truth", str(files[1]), "--plot", plot)
    assert shown.code == 2
    assert "cannot be written" in shown.err


def test_usage_errors_exit_with_2(types: Types, files: tuple[Path, Path], folder: Path) -> None:
    assert types("evaluate", str(files[0])).code == 2
    missing = types("evaluate", str(files[0]), "--truth", "nothing.csv", "--json")
    assert missing.code == 2
    assert missing.document["error"]["type"] == "InputError"


@pytest.mark.parametrize("library", ["pycocotools", "matplotlib"])
def test_a_missing_library_is_named_with_the_way_to_get_it(files: tuple[Path, Path], library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv = {['gpupipe', 'evaluate', str(files[0])]!r}"
        f" + ['--truth', {str(files[1])!r}, '--plot', 'c.png']; from gpupipe.cli.main import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"evaluate needs {library}, which this installation lacks." in ended.stderr
    assert "pip install 'gpupipe-aws[evaluate]'" in ended.stderr
