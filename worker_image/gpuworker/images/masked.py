"""What places on earth, overlays and results take an instance for, in whatever form its mask is held."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Masked(Protocol):
    """What results are made of: an instance with its mask in whatever form it is held (`Instance`, `packed.Packed`)."""

    @property
    def x(self) -> int: ...
    @property
    def y(self) -> int: ...
    @property
    def height(self) -> int:
        """Of the crop that the mask lies in."""

    @property
    def width(self) -> int: ...
    @property
    def mask(self) -> NDArray[np.bool_]:
        """h×w; maybe made when it is asked for, so ask once."""

    @property
    def area(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def category_id(self) -> int: ...
    @property
    def source(self) -> str: ...
    def tight(self) -> Self | None:
        """The same instance on the smallest crop that holds its pixels; None where there are none."""
