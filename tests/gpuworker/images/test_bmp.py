"""BMP of every kind that Windows writes, held against Pillow; cut ones are refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.gpuworker import pictures
from tests.gpuworker.formats import bmp, by_pillow, seen_by_pillow

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe
from gpuworker.images.rendering import Rendering

SIZE = 37, 21
BGRA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
RNG = np.random.default_rng(3)


def rows(bits: int) -> bytes:
    return RNG.integers(0, 256, (SIZE[0] * bits + 31) // 32 * 4 * SIZE[1], np.uint8).tobytes()


def rows_with_alpha() -> bytes:
    """Cut out or there; what is between would be taken for a fourth band."""
    table = np.frombuffer(rows(32), np.uint8).reshape(-1, 4).copy()
    table[:, 3] = np.where(np.arange(len(table)) % SIZE[0] < 9, 0, 255)
    return table.tobytes()


def palette(colours: int) -> bytes:
    table = RNG.integers(0, 256, (colours, 4), np.uint8)
    table[:, 3] = 0
    return table.tobytes()


RUNS = b"".join(bytes([10, i % 9, 0, 5, 1, 2, 3, 4, 5, 0, 22, 3, 0, 0]) for i in range(SIZE[1])) + b"\0\1"
KINDS = {
    "1 bit": bmp(1, SIZE, rows(1), palette=palette(2)),
    "4 bits": bmp(4, SIZE, rows(4), palette=palette(16)),
    "8 bits": bmp(8, SIZE, rows(8), palette=palette(256)),
    "8 bits, top down": bmp(8, SIZE, rows(8), palette=palette(256), is_top_down=True),
    "grey": by_pillow(pictures.scene()[:, :, 0], "BMP"),
    "runs of 8 bits": bmp(8, SIZE, RUNS, palette=palette(16), compression=1),
    "24 bits": bmp(24, SIZE, rows(24)),
    "24 bits, top down": bmp(24, SIZE, rows(24), is_top_down=True),
    "24 bits, version 5": bmp(24, SIZE, rows(24), header=124),
    "32 bits": bmp(32, SIZE, rows(32)),
    "32 bits, no transparency": bmp(32, SIZE, rows(32), compression=3, masks=BGRA[:3]),
    **{
        f"transparency, {n}": bmp(32, SIZE, rows_with_alpha(), compression=3, header=n, masks=BGRA)
        for n in (56, 108, 124)
    },
    "transparency, red first": bmp(
        32, SIZE, rows_with_alpha(), compression=3, header=124, masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    ),
    "555": bmp(16, SIZE, rows(16)),
    "565": bmp(16, SIZE, rows(16), compression=3, masks=(0xF800, 0x7E0, 0x1F)),
    "555 by masks": bmp(16, SIZE, rows(16), compression=3, masks=(0x7C00, 0x3E0, 0x1F)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_pillow_reads_it(kind: str) -> None:
    image = decode(KINDS[kind])
    assert image.rgb.shape == (image.height, image.width, 3)
    # Pillow rounds the parts of a pixel of 16 bits downwards, and mixes with white by another formula.
    assert np.abs(image.rgb.astype(int) - seen_by_pillow(KINDS[kind])).max() <= 1
    assert probe(KINDS[kind]).bands == (4 if "transparency" in kind and "no" not in kind else 3)


def test_white_in_sixteen_bits_is_white() -> None:
    for rendering in (Rendering(), Rendering(bands=(3, 2, 1))):
        image = decode(bmp(16, (2, 1), b"\xff\x7f\0\0"), rendering=rendering)
        assert image.rgb.tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize(("kind", "lost"), list(product(KINDS, [1, 40, 200])))
def test_a_file_that_is_cut_is_truncated(kind: str, lost: int) -> None:
    with pytest.raises(ItemError) as caught:
        decode(KINDS[kind][:-lost])
    assert caught.value.code == "truncated"


def test_it_is_cut_inside_its_header() -> None:
    for length in (9, 17, 25, 40, 53):
        with pytest.raises(ItemError) as caught:
            decode(KINDS["565"][:length])
        assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        bmp(2, SIZE, rows(2), palette=palette(4)),
        bmp(24, SIZE, b"\xff\xd8\xff", compression=4),
        bmp(16, SIZE, rows(16), compression=3, masks=(0xF00, 0xF0, 0xF)),
        bmp(32, SIZE, rows(32), compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF)),
        bmp(32, SIZE, rows(32), compression=3, masks=(0xFF, 0xFF00, 0xFF0000)),
        b"BMW builds cars, and this is a text of some length",
    ],
    ids=["2 bits", "a JPEG inside", "444", "10 bits", "red first in an old header", "a text"],
)
def test_what_would_come_out_wrong_is_unsupported(data: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        decode(data)
    assert caught.value.code == "unsupported"


def test_bytes_after_it_do_no_harm() -> None:
    assert np.array_equal(decode(KINDS["24 bits"] + b"tail").rgb, decode(KINDS["24 bits"]).rgb)
