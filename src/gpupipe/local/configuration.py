"""gpupipe.toml as the daemon reads it: again whenever it has changed, and never a broken edit."""

import sys
from dataclasses import dataclass
from pathlib import Path

from gpupipe.config import Config, load
from gpupipe.errors import ConfigError
from gpupipe.names import Stack


@dataclass(frozen=True, kw_only=True)
class RunnerSettings:
    """What the configuration says to the runners."""

    worker_python: str
    guard_interval_s: float
    guard_functions: tuple[str, ...]


class Configuration:
    """The configuration file; a mistake in a later edit leaves the last good reading in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = 0
        self._config: Config | None = None

    def get(self) -> Config:
        """Raises ConfigError if there never was a good reading."""
        changed_at = self._path.stat().st_mtime_ns if self._path.exists() else self._read_at
        if self._config is None or changed_at != self._read_at:
            self._read_at = changed_at
            try:
                self._config = load(self._path)
            except ConfigError:
                if self._config is None:
                    raise
        return self._config

    def stack(self, account_id: str) -> Stack:
        """What names are made from, in the emulated account."""
        settings = self.get().stack
        return Stack(name=settings.name, environment=settings.environment, account=account_id, region=settings.region)

    def runner_settings(self) -> RunnerSettings:
        config = self.get()
        stack = self.stack("")
        return RunnerSettings(
            worker_python=config.local.worker_python or sys.executable,
            guard_interval_s=config.local.guard_interval_s,
            guard_functions=tuple(stack.guard_function(pipeline) for pipeline in config.pipelines),
        )
