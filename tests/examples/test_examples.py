"""The packaged examples: each names its source, all are images, and the package stays small."""

from __future__ import annotations

from pathlib import Path

import gpupipe.examples
from gpuworker.images.decoding import probe

FOLDER = Path(gpupipe.examples.__file__).parent
IMAGES = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".jpg", ".png", ".webp", ".tif"})


def test_every_image_names_its_source() -> None:
    sources = (FOLDER / "SOURCES.md").read_text("utf-8")
    assert [path.name for path in IMAGES if f"`{path.name}`" not in sources] == []
    assert (FOLDER / "photos" / "OSBS_029.LICENSE").exists()


def test_they_cover_the_formats_and_a_phone_held_sideways() -> None:
    headers = {path.name: probe(path.read_bytes()) for path in IMAGES}
    assert {header.format for header in headers.values()} == {"jpeg", "png", "webp", "tiff"}
    assert headers["coffee_sideways.jpg"].orientation == 6


def test_they_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 1_000_000
