"""Weights that an engine does not carry: where they come from, and what is kept beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gpuworker.contract import ModelSource


class ModelError(Exception):
    """The weights cannot be had; says why and what to do.

    `is_final` where only a person can change that: nothing is won by trying again, here or on another machine.
    """

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        super().__init__(message)
        self.is_final = is_final


class Models(Protocol):
    """What an engine asks of the place it runs in."""

    source: ModelSource

    def folder(self) -> Path:
        """The folder with the weights, whole and verified. Raises ModelError, and may take minutes the first time."""

    def kept(self, name: str) -> bytes | None:
        """What `keep` has kept under this name, on whichever machine; None where there is nothing."""

    def keep(self, name: str, data: bytes) -> None:
        """Keep something that was costly to make (compiled code) for the next machine; never raises."""


class FolderModels:
    """Weights that lie on this machine; nothing is kept beyond it."""

    def __init__(self, source: ModelSource) -> None:
        self.source = source

    def folder(self) -> Path:
        path = Path(self.source.weights).expanduser()
        if not self.source.weights:
            raise ModelError("no weights are named; set `weights` in [pipelines.<name>.model]")
        if not path.is_dir():
            raise ModelError(
                f"there is no folder {path} with weights on the machine that runs the worker "
                "([pipelines.<name>.model] weights)"
            )
        return path

    def kept(self, name: str) -> bytes | None:
        return None

    def keep(self, name: str, data: bytes) -> None:
        """Nothing is kept."""
