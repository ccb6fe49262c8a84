"""Waiting ends: when it is so, or with words."""

from __future__ import annotations

import pytest

from gpupipe.errors import AwsError
from gpupipe.resources.waiting import until


def test_it_returns_as_soon_as_it_is_so() -> None:
    looks = iter([False, False, True])

    until(lambda: next(looks), what="the lamp: on", within_s=5, pause_s=0.001)

    assert list(looks) == []


def test_it_gives_up_with_words() -> None:
    with pytest.raises(AwsError, match=r"the lamp: on is still not so after 0 s"):
        until(lambda: False, what="the lamp: on", within_s=0.01, pause_s=0.001)
