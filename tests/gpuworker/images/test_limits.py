"""Which images are too large, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.headers import Header
from gpuworker.images.limits import WINDOWED_PIXELS, Limits, require_decodable, require_windowed
from gpuworker.process.memory import budget_bytes

GB = 10**9


def header(width: int = 20_000, height: int = 20_000, **more: Any) -> Header:
    return Header(**{"format": "png", "width": width, "height": height, "bands": 3, "dtype": "uint8", **more})


def failure(limits: Limits, what: Header, **more: Any) -> ItemError:
    with pytest.raises(ItemError) as caught:
        require_decodable(what, limits, **{"needed_bytes": 2_400_000_000, **more})
    assert caught.value.code == "too_large"
    return caught.value


def test_what_needs_more_than_there_is_is_told_in_gigabytes() -> None:
    message = failure(Limits(memory_bytes=2 * GB), header()).message
    assert message.startswith(
        "the image has 20000×20000 pixels (400 megapixels); decoding it needs 2.40 GB of memory, and this worker had "
        "2.00 GB for images. Convert it to a tiled TIFF"
    )
    for remedy in ("a machine with more memory", "the option max_pixels"):
        assert remedy in message


def test_needed_and_had_are_never_rounded_to_the_same() -> None:
    message = failure(Limits(memory_bytes=2 * GB), header(), needed_bytes=2 * GB + 1).message
    assert "needs 2.01 GB" in message
    assert "had 2.00 GB" in message


def test_what_fits_exactly_is_decoded_however_many_pixels_it_has() -> None:
    require_decodable(header(30_000, 30_000), Limits(memory_bytes=2 * GB), needed_bytes=2 * GB)


def test_a_number_that_a_person_has_set_wins_over_memory_both_ways() -> None:
    require_decodable(header(), Limits(max_pixels=400_000_000, memory_bytes=1), needed_bytes=9 * GB)
    few = failure(Limits(max_pixels=399_999_999, memory_bytes=100 * GB), header(), needed_bytes=1)
    assert "the limit is 399,999,999. The option max_pixels raises it" in few.message


def test_a_tiled_file_is_not_to_be_tiled_again() -> None:
    message = failure(Limits(memory_bytes=GB), header(format="tiff"), is_tiled=True).message
    assert "Look at it by tiles (option tile_size)" in message
    assert "Convert" not in message


def test_what_opencv_never_decodes_is_not_called_damaged() -> None:
    limits = Limits(max_pixels=10**12)
    assert "1,074 megapixels. Convert it to a tiled TIFF" in failure(limits, header(40_000, 40_000)).message
    require_decodable(header(40_000, 40_000, format="tiff"), limits, needed_bytes=0)


def test_by_windows_memory_is_no_matter() -> None:
    require_windowed(header(format="tiff"), Limits(memory_bytes=1))
    for limits, most in ((Limits(), WINDOWED_PIXELS), (Limits(max_pixels=500_000_000), 500_000_000)):
        with pytest.raises(ItemError, match=f"the limit is {most:,}") as caught:
            require_windowed(header(25_000, 25_000, format="tiff"), limits)
        assert caught.value.code == "too_large"


def test_without_a_budget_this_machine_s_is_taken() -> None:
    assert Limits().had_bytes == pytest.approx(budget_bytes(), rel=0.5)
    assert Limits(memory_bytes=0).had_bytes == 0


@pytest.mark.parametrize(
    ("stored", "expected"),
    [({}, None), ({"max_pixels": None}, None), ({"max_pixels": 0}, None), ({"max_pixels": 400_000_000}, 400_000_000)],
    ids=["nothing", "null", "zero", "a job of an earlier version"],
)
def test_what_a_job_carries(stored: dict[str, Any], expected: int | None) -> None:
    assert Options.of(stored).limits().max_pixels == expected
