"""The person's side of `upper` and `upper-all`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from gpupipe.tasks import TaskOptions
from gpuworker.contract import InputKind


class UpperOptions(TaskOptions):
    """What `upper` can be told."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"value"})

    ending: str = Field("", description="What follows each text.")

    def seconds_per_item(self) -> float:
        return 0.01


class UpperAllOptions(UpperOptions):
    """The same for text files too."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"object", "value"})
    input_suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})
