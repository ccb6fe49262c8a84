"""JPEGs that libjpeg reads although they are not as they should be, and those that it reads in part without a word."""

from __future__ import annotations

import io
import struct
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.gpuworker import pictures
from tests.properties import examples

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe
from gpuworker.images.jpeg_segments import SOS, segments

RGB = pictures.scene(60, 90)
_NOISE = np.random.default_rng(7).integers(0, 24, RGB.shape, np.uint8)
PHOTO = np.clip(RGB.astype(int) + _NOISE, 0, 255).astype(np.uint8)


def by_pillow(mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PHOTO).convert(mode).save(out, "JPEG", quality=90, **options)
    return out.getvalue()


KINDS = {
    "one scan": by_pillow(),
    "quarter colours": by_pillow(subsampling=2),
    "progressive": by_pillow(progressive=True),
    "restarts": by_pillow(restart_marker_blocks=3),
    "grey": by_pillow("L"),
    "cmyk": by_pillow("CMYK"),
}


def code_of(data: bytes) -> str:
    with pytest.raises(ItemError) as caught:
        decode(data)
    return caught.value.code


def borders(data: bytes) -> list[int]:
    """Where segments of the header begin."""
    found = []
    for one in segments(data):
        found.append(one.at - 4)
        if one.marker == SOS:
            return found
    raise AssertionError("no scan")


def by_cv2(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


JUNK = st.one_of(
    st.binary(max_size=12),
    st.lists(st.sampled_from([0, 0xFF, 0x0A]), max_size=8).map(bytes),
    st.binary(max_size=6).map(lambda body: b"\xff\xfe" + struct.pack(">H", len(body)) + body),
)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 30), JUNK)
@examples(300)
def test_what_is_inserted_between_segments_vetoes_nothing_that_is_decoded(kind: str, place: int, junk: bytes) -> None:
    data = KINDS[kind]
    at = borders(data)
    at = at[1:] or at  # cv2 knows a JPEG by its first three bytes
    spoilt = data[: at[place % len(at)]] + junk + data[at[place % len(at)] :]
    expected = by_cv2(spoilt)
    if expected is None:
        return
    assert np.array_equal(expected, decode(spoilt).rgb)
    assert (probe(spoilt).height, probe(spoilt).width) == expected.shape[:2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", [b"\0\0\0", b"\n", b"\xff\xff\xff", b"\xff\0\xff\0", b"stray"], ids=repr)
def test_stray_bytes_at_every_border_give_the_same_picture(kind: str, junk: bytes) -> None:
    data = KINDS[kind]
    at = borders(data)
    assert len(at) > 3
    spoilt = data[: at[1]] + b"".join(junk + data[a:b] for a, b in pairwise([*at[1:], len(data)]))
    assert np.array_equal(decode(spoilt).rgb, decode(data).rgb)


@pytest.mark.parametrize("length", [0, 1])
def test_a_segment_that_says_less_than_its_length_takes_is_empty(length: int) -> None:
    data = KINDS["one scan"]
    at = borders(data)[1]
    assert decode(data[:at] + b"\xff\xef" + struct.pack(">H", length) + data[at:]).rgb.shape == RGB.shape


def test_an_orientation_behind_stray_bytes_counts() -> None:
    data = pictures.jpeg(RGB, orientation=6)
    assert probe(data[:2] + b"\xff\xef\0\2\0\0\0" + data[2:]).orientation == 6


class TestAPictureInPart:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("share", [0.3, 0.5])
    def test_behind_an_end_marker(self, kind: str, share: float) -> None:
        data = KINDS[kind]
        at = borders(data)[-1]
        assert code_of(data[: at + int((len(data) - at) * share)] + b"\xff\xd9") == "truncated"

    @pytest.mark.parametrize("kind", KINDS)
    def test_before_another_picture(self, kind: str) -> None:
        data = KINDS[kind]
        assert code_of(data[: len(data) // 2] + data) == "truncated"

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("lost", [40, 200])
    def test_without_an_end_marker(self, kind: str, lost: int) -> None:
        assert code_of(KINDS[kind][:-lost]) == "truncated"

    def test_a_progression_without_an_end_marker_may_lack_a_scan(self) -> None:
        assert code_of(KINDS["progressive"][:-2]) == "truncated"


class TestAWholePicture:
    @pytest.mark.parametrize("kind", sorted({*KINDS} - {"progressive"}))
    @pytest.mark.parametrize("lost", [1, 2])
    def test_of_which_only_the_end_marker_is_missing(self, kind: str, lost: int) -> None:
        assert np.array_equal(decode(KINDS[kind][:-lost]).rgb, decode(KINDS[kind]).rgb)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("tail", [b"\0" * 5000, b"tail", KINDS["grey"], KINDS["grey"][:300]], ids=len)
    def test_whatever_follows_it(self, kind: str, tail: bytes) -> None:
        assert np.array_equal(decode(KINDS[kind] + tail).rgb, decode(KINDS[kind]).rgb)

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    def test_of_the_grey_that_missing_ones_have(self, mode: str) -> None:
        out = io.BytesIO()
        Image.new(mode, (90, 60), 128 if mode == "L" else (128,) * len(mode)).save(out, "JPEG")
        assert decode(out.getvalue()).rgb.shape == (60, 90, 3)
        assert decode(out.getvalue(), max_decode_px=20).rgb.shape == (15, 23, 3)
