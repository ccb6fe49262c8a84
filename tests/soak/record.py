"""What became of each round, kept in a file so that a soak goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Record:
    """A line a round, in the order in which they ended."""

    path: Path

    def add(self, seed: int, *, faults: Sequence[str], **more: Any) -> None:
        line = {"seed": seed, "faults": list(faults), **more}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(line) + "\n")

    def rounds(self) -> Mapping[int, Any]:
        """By seed; of a round that was tried again the last. A line cut short by a crash is none."""
        found: dict[int, Any] = {}
        for line in self.path.read_text("utf-8").splitlines() if self.path.exists() else []:
            try:
                one = json.loads(line)
            except ValueError:
                continue
            found[int(one["seed"])] = one
        return found

    def missing(self, seeds: Sequence[int]) -> Sequence[int]:
        """Those that have not ended well: never tried, or with faults."""
        rounds = self.rounds()
        return [seed for seed in seeds if seed not in rounds or rounds[seed]["faults"]]
