"""What an item adds to a job's merged result: mostly one picture, of a file with several pages more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MORE = "more"
"""Key of a fragment: those of the pages after the first, of the same form."""


def fragments_in(fragment: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The fragment of each picture: `image` and `annotations`, whose ids are local to it from 1."""
    return [fragment, *fragment.get(MORE, ())]
