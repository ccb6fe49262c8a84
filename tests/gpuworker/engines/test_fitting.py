"""Batches that fit, with an engine whose memory holds as many pictures as the test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gpuworker.contract.items import ItemError
from gpuworker.engines.base import Engine
from gpuworker.engines.fitting import Fitting
from gpuworker.engines.options import Options
from gpuworker.process.batch_limit import GOOD_BATCHES_BEFORE_GROWING


class Small(Engine):
    """Finds in a picture the picture itself."""

    batch_size = 8
    info: Mapping[str, Any] = {"name": "small", "version": "1", "notes": ""}

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.batches: list[int] = []
        self.is_frugal = True

    def load(self, device: str) -> None: ...

    def categories(self, options: Options) -> Sequence[str]:
        return ("thing",)

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        self.batches.append(len(prepared))
        if len(prepared) > self.fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if "bug" in prepared:
            raise ValueError("cannot count")
        return [ItemError("unsupported", "no") if one == "bad" else one for one in prepared]

    def detect_frugally(self, prepared: Any, options: Options) -> Any:
        if not self.is_frugal:
            raise MemoryError
        return f"{prepared}, one prompt at a time"


def test_more_pictures_than_a_batch_holds_come_back_in_order() -> None:
    engine = Small(fits=8)
    assert Fitting(engine).detect(list("abcdefghijk"), Options()) == list("abcdefghijk")
    assert engine.batches == [8, 3]


def test_a_batch_that_does_not_fit_is_halved_and_the_next_is_as_small() -> None:
    engine = Small(fits=3)
    fitting = Fitting(engine)
    assert fitting.detect(list("abcdefgh"), Options()) == list("abcdefgh")
    assert engine.batches == [8, 4, 2, 2, 2, 2]
    fitting.detect(list("ab"), Options())
    assert engine.batches[-1] == 2


def test_batches_grow_again_when_all_went_well_for_long() -> None:
    engine = Small(fits=3)
    fitting = Fitting(engine)
    fitting.detect(list("abcd"), Options())
    engine.fits = 8
    fitting.detect(["x"] * 2 * GOOD_BATCHES_BEFORE_GROWING * 2, Options())
    assert fitting.limit.now > 2
    fitting.detect(["x"] * 8 * GOOD_BATCHES_BEFORE_GROWING * 2, Options())
    assert fitting.limit.now == engine.batch_size


def test_a_picture_that_does_not_fit_alone_is_done_frugally() -> None:
    assert Fitting(Small(fits=0)).detect(["a"], Options()) == ["a, one prompt at a time"]


def test_a_picture_that_never_fits_fails_by_its_code_and_its_neighbours_do_not() -> None:
    engine = Small(fits=0)
    engine.is_frugal = False
    found = Fitting(engine).detect(["a", "b"], Options())
    assert [one.code for one in found] == ["out_of_memory", "out_of_memory"]
    assert "instance type" in found[0].message


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match="count"):
        Fitting(Small(fits=8)).detect(["bug"], Options())
    [bad, good] = Fitting(Small(fits=8)).detect(["bad", "good"], Options())
    assert (bad.code, good) == ("unsupported", "good")
