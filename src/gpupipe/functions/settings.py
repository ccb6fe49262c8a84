"""What a function is told: one JSON document for all functions of a pipeline; names and limits, no secret.

It stands in the environment (`GPUPIPE_FUNCTION`) or, where it is longer than Lambda allows there, in a file of the code
package, which the variable then names. Each kind adds its own fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gpuworker.contract import Document, pattern_for

VARIABLE = "GPUPIPE_FUNCTION"
FILE = "gpupipe_function.json"
"""In the code package, at its top."""

_PACKAGE_ROOT = Path(__file__).parents[2]

T = TypeVar("T", bound="FunctionSettings")


@dataclass(frozen=True, kw_only=True)
class FunctionSettings(Document):
    """What every kind has."""

    stack: str
    pipeline: str
    kind: str
    account: str
    region: str
    bucket: str
    table: str
    task: str
    task_options: Mapping[str, Any]
    """Canonical options of drop-ins, whole."""
    dropin_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those that differ for the projects of a pattern."""
    input_suffixes: Sequence[str]
    """File name endings that drop-ins are taken for; others are ignored and counted."""
    shard_items: int
    """The most items a drop-in shard holds."""
    dropin_shard_items: Mapping[str, int] = field(default_factory=dict)
    """Where it differs, by the same patterns."""
    guard_function: str
    quiet_seconds: float = 60.0
    max_receives: int = 4
    """Tries of a shard before it is dead."""
    monthly_usd: float = 0.0
    """What the pipeline's machines may cost in a month; 0 is any amount."""
    prices_usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    """By instance type, of the market in use; for budget and cost records."""

    def options_of_dropins(self, project: str) -> Mapping[str, Any]:
        """The whole options of a drop-in job of that project that is opened now."""
        return {**self.task_options, **self.dropin_options.get(self._pattern_for(project), {})}

    def items_of_dropins(self, project: str) -> int:
        """The most items that a drop-in shard of that project holds."""
        return self.dropin_shard_items.get(self._pattern_for(project), self.shard_items)

    def _pattern_for(self, project: str) -> str:
        return pattern_for(self.dropin_options, project) or ""

    @classmethod
    def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
        """What it does not know is left out: while `up` updates a function, new code meets the settings of before."""
        known = {one.name for one in fields(cls)}
        return super().from_dict({name: value for name, value in data.items() if name in known})

    @classmethod
    def of_running_function(cls: type[T]) -> T:
        """As `up` has placed them."""
        text = os.environ[VARIABLE]
        return cls.from_json(_PACKAGE_ROOT.joinpath(FILE).read_text(encoding="utf-8") if text == FILE else text)
