"""HEIC and AVIF: the primary picture, upright and in its own values; cut ones are refused before they are decoded."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from tests.gpuworker import pictures
from tests.gpuworker.formats import by_pillow, exif, heic, seen_by_pillow

from gpuworker.contract.caveats import CAVEATS
from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe
from gpuworker.images.notes import PICTURES_LEFT

pillow_heif = pytest.importorskip("pillow_heif")

RGB = pictures.scene()
RGBA = np.dstack([RGB, np.where(RGB[:, :, 0] < 60, 0, 255).astype(np.uint8)])
OVER_WHITE = np.where(RGBA[:, :, 3:] == 0, 255, RGB)
NEARLY = 3


def differs(data: bytes, expected: Any) -> int:
    image = decode(data)
    assert (image.height, image.width) == expected.shape[:2] == image.rgb.shape[:2]
    return int(np.abs(image.rgb.astype(int) - expected).max())


@pytest.mark.parametrize("orientation", range(1, 9))
class TestOrientation:
    def test_of_heic_is_applied_once(self, orientation: int) -> None:
        assert differs(heic(pictures.stored_as(RGB, orientation), orientation=orientation), RGB) <= NEARLY

    def test_of_avif_is_applied_once(self, orientation: int) -> None:
        stored = np.ascontiguousarray(pictures.stored_as(RGB, orientation))
        assert differs(by_pillow(stored, "AVIF", exif=exif(orientation)), RGB) <= NEARLY


def test_exif_alone_turns_nothing() -> None:
    # Many programs turn the boxes and leave the EXIF block, or the other way round; libheif asks the boxes.
    pillow_heif.register_heif_opener()
    block = Image.Exif()
    block[274] = 6
    data = by_pillow(RGB, "HEIF", quality=-1, chroma=444, exif=block)
    assert b"irot" not in data
    assert differs(data, RGB) <= NEARLY


class TestKinds:
    def test_transparency_becomes_white(self) -> None:
        assert differs(heic(RGBA, mode="RGBA"), OVER_WHITE) <= NEARLY
        data = by_pillow(RGBA, "AVIF")
        assert differs(data, seen_by_pillow(data)) <= 1
        assert probe(data).bands == 4

    def test_grey(self) -> None:
        grey = np.repeat(RGB[:, :, :1], 3, axis=2)
        assert differs(heic(RGB[:, :, 0], mode="L"), grey) <= NEARLY
        assert differs(by_pillow(RGB[:, :, 0], "AVIF"), grey) <= NEARLY

    @pytest.mark.parametrize("bits", [10, 12])
    def test_deep_avif_shows_the_values_of_its_bytes(self, bits: int) -> None:
        deep = (RGB.astype(np.uint32) // 2 * ((1 << bits) - 1) // 255).astype(np.uint16)
        data = bytes(imagecodecs.avif_encode(deep, level=100, bitspersample=bits, pixelformat="444"))
        assert differs(data, RGB // 2) <= 1

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_deep_heic_shows_the_values_of_its_bytes(self, mode: str) -> None:
        pixels = {"RGB": RGB, "RGBA": RGBA, "L": RGB[:, :, 0]}[mode]
        seen = {"RGB": RGB, "RGBA": OVER_WHITE, "L": np.repeat(RGB[:, :, :1], 3, axis=2)}[mode]
        assert differs(heic(pixels.astype(np.uint16) * 257, mode=f"{mode};16"), seen) <= NEARLY

    def test_the_primary_of_several_pictures_counts(self) -> None:
        several = pillow_heif.from_bytes("RGB", (64, 48), RGB[::-1].tobytes())
        several.add_frombytes("RGB", (64, 48), RGB.tobytes())
        out = io.BytesIO()
        several.save(out, quality=-1, chroma=444, primary_index=1)
        assert differs(out.getvalue(), RGB) <= NEARLY
        assert probe(out.getvalue()).notes.warnings == (PICTURES_LEFT,)
        assert PICTURES_LEFT in CAVEATS
        assert probe(heic(RGB)).notes.warnings == ()

    def test_of_a_film_the_first_frame_counts(self) -> None:
        out = io.BytesIO()
        Image.fromarray(RGB).save(
            out,
            "AVIF",
            save_all=True,
            append_images=[Image.fromarray(RGB[::-1].copy())],
            quality=100,
            subsampling="4:4:4",
        )
        assert differs(out.getvalue(), RGB) <= NEARLY


FILES = {"heic": heic(RGB), "avif": by_pillow(RGB, "AVIF"), "avif with alpha": by_pillow(RGBA, "AVIF")}


class TestDamaged:
    @pytest.mark.parametrize("kind", FILES)
    def test_a_file_that_is_cut_anywhere_is_truncated(self, kind: str) -> None:
        data = FILES[kind]
        for length in [*range(9, len(data), 11), len(data) - 1]:
            with pytest.raises(ItemError) as caught:
                probe(data[:length])
            assert caught.value.code == "truncated", length

    @pytest.mark.parametrize("kind", FILES)
    @pytest.mark.parametrize("tail", [b"tail", b"a tail of many bytes", bytes(40)], ids=len)
    def test_bytes_after_it_do_no_harm(self, kind: str, tail: bytes) -> None:
        assert np.array_equal(decode(FILES[kind] + tail).rgb, decode(FILES[kind]).rgb)

    @pytest.mark.parametrize("kind", FILES)
    @pytest.mark.parametrize("seed", range(5))
    def test_damage_never_ends_otherwise(self, kind: str, seed: int) -> None:
        random = np.random.default_rng(seed)
        for reach in (len(FILES[kind]), 400):
            broken = bytearray(FILES[kind])
            for at in random.integers(0, min(reach, len(broken)), 5):
                broken[at] = random.integers(0, 256)
            with contextlib.suppress(ItemError):
                decode(bytes(broken))


def test_without_pillow_heif_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ItemError, match=r"pip install 'gpupipe-aws\[heif\]'") as caught:
        decode(FILES["heic"])
    assert caught.value.code == "unsupported"
    assert decode(FILES["avif"]).rgb.shape == RGB.shape


def test_pillow_heif_is_loaded_only_for_a_file_that_needs_it() -> None:
    ask = "import sys, gpuworker.images.decoding; sys.exit('pillow_heif' in sys.modules or 'PIL' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", ask], env=environment, check=False).returncode == 0
