"""Commands typed in this process: as quick as calls, with the exit code and both streams of the real entry point."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpupipe.cli.main import main
from gpupipe.cli.screen import Screen


@dataclass(frozen=True, kw_only=True)
class Typed:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Types = Callable[..., Typed]


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Types]:
    """Type a command: `types("plan", "--json")`; `columns`: on a terminal so wide."""
    monkeypatch.delenv("COLUMNS", raising=False)  # set for workers of xdist by readline, in the pytest that starts them
    thresholds, on_ctrl_c = gc.get_threshold(), signal.getsignal(signal.SIGINT)

    def type_(*arguments: str, columns: int | None = None) -> Typed:
        if columns:
            monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["gpupipe", *arguments])
        monkeypatch.setattr(Screen, "has_answered", False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        signal.signal(signal.SIGINT, on_ctrl_c)  # ignored by a command that has ended, and by all it would start then
        printed = capsys.readouterr()
        code = left.value.code
        return Typed(code=code if isinstance(code, int) else int(bool(code)), out=printed.out, err=printed.err)

    yield type_
    gc.set_threshold(*thresholds)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type in, without anybody's configuration or credentials."""
    for name in ("GPUPIPE_CONFIG", "GPUPIPE_DEBUG", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path
