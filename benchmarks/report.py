"""What all benchmarks share: the option `--smoke`, and the lines that hold a figure against a peer or a bar."""

from __future__ import annotations

import argparse
import re
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMOKE = "smoke run: the smallest inputs, once; its figures say nothing about speed, and no bar is judged"
MISSED = "MISSED"
COMPARISON = re.compile(
    r"^.+, ratio to .+: (inf|[\d.]+(e[-+]\d+)?)( \(bar .+\))?$|^\S+ is not installed: no comparison with it",
    re.MULTILINE,
)
"""Matches what `Report.ratio` and `Report.peer_missing` print: at least one line of every benchmark."""


def parsed(
    parser: argparse.ArgumentParser, *, smoke: Mapping[str, Any], arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse the command line; with `--smoke` the defaults in `smoke` take the place of the usual ones."""
    parser.add_argument("--smoke", action="store_true", help="only try it out: the smallest inputs, once, no bars")
    if parser.parse_known_args(arguments)[0].smoke:
        parser.set_defaults(**smoke)
        print(SMOKE, flush=True)
    return parser.parse_args(arguments)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Prints figures. A bar that is missed is a line, not an exit status: the machine may have other work."""

    is_smoke: bool

    def bar(self, what: str, value: float, bar: float, unit: str = "", *, at_least: bool = False) -> None:
        """Print a figure that has to be at most `bar`, or at least."""
        print(f"{what}: {_with_unit(value, unit)}{self._verdict(value, bar, unit, at_least=at_least)}", flush=True)

    def ratio(self, what: str, peer: str, value: float, *, bar: float | None = None) -> None:
        """Print by how much `what` is that of `peer`, both of this run; `bar` is what it has to be at least."""
        verdict = "" if bar is None else self._verdict(value, bar, at_least=True)
        print(f"{what}, ratio to {peer}: {value:.3g}{verdict}", flush=True)

    def peer_missing(self, peer: str) -> None:
        """Say that a comparison is left out."""
        print(f"{peer} is not installed: no comparison with it (pip install {peer})", flush=True)

    def _verdict(self, value: float, bar: float, unit: str = "", *, at_least: bool) -> str:
        is_met = value >= bar if at_least else value <= bar
        verdict = "not judged" if self.is_smoke else "ok" if is_met else MISSED
        return f" (bar {_with_unit(bar, unit)}: {verdict})"


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()


def peak_mb() -> float:
    """Peak of this process's resident memory since it began to run its own program."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
