"""A hub's weights on this machine: from its own disk, else from the bucket's copy, else from the hub itself."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gpuworker.contract import ModelSource
from gpuworker.models import ModelError
from gpuworker.models.files import ModelFile, from_manifest, to_manifest, total_bytes
from gpuworker.models.hub import Hub
from gpuworker.models.kept import KeptInBucket, Seals
from gpuworker.models.mirror import DamagedMirrorError, Mirror
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage, StorageError

SPARE_BYTES = 1_000_000_000
"""Disk that is left for everything else."""
REMEMBERED_S = 300.0
"""A failure is told again for so long without another try: every image of a job asks."""


class MirroredModels(KeptInBucket):
    """Fetched when first asked for; the folder below `root` appears in one piece, when all of it is verified."""

    def __init__(
        self,
        source: ModelSource,
        storage: Storage,
        log: Log,
        *,
        seals: Seals,
        mirror: Mirror,
        hub: Callable[[], Hub],
        root: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hub` is asked for only when the hub is needed, for it reads the token. Raises ModelError then."""
        super().__init__(source, storage, log, seals=seals)
        self._mirror, self._hub, self._root, self._clock = mirror, hub, root, clock
        self._path = root / source.weights.replace("/", "--") / source.revision
        self._lock = threading.Lock()
        self._failed: ModelError | None = None
        self._failed_at = 0.0

    @property
    def on_this_machine(self) -> ModelSource:
        return replace(self.source, weights=str(self._path), revision="", token_secret="")

    def folder(self) -> Path:
        with self._lock:
            if self._failed and self._clock() - self._failed_at < REMEMBERED_S:
                raise _anew(self._failed)
            try:
                if not self._is_whole():
                    self._bring()
            except ModelError as error:
                self._failed, self._failed_at = _anew(error), self._clock()
                raise
            return self._path

    # --- this machine's disk ---

    @property
    def _manifest(self) -> Path:
        return self._path.with_suffix(".json")

    @property
    def _part(self) -> Path:
        return self._path.with_suffix(".part")

    def _is_whole(self) -> bool:
        """Verified when it came; that nothing was lost since is seen by the sizes."""
        try:
            files = from_manifest(self._manifest.read_bytes())
        except OSError:
            return False
        return files is not None and all(one.is_at(self._path) for one in files)

    def _make_room(self, files: Sequence[ModelFile]) -> None:
        """Other weights go: a machine has one pipeline, and its configuration names one model."""
        keep = {self._path, self._part, self._manifest}
        for old in self._root.glob("*/*"):
            if old not in keep:
                shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
        self._part.mkdir(parents=True, exist_ok=True)
        missing = total_bytes(one for one in files if not one.is_at(self._part))
        free = shutil.disk_usage(self._part).free
        if missing + SPARE_BYTES > free:
            raise ModelError(
                f"{self.source.weights} takes {missing / 1e9:.1f} GB, and {free / 1e9:.1f} GB of the machine's disk "
                "are free: raise compute.volume_gb"
            )

    def _settle(self, files: Sequence[ModelFile]) -> None:
        shutil.rmtree(self._part / ".cache", ignore_errors=True)
        shutil.rmtree(self._path, ignore_errors=True)
        self._part.rename(self._path)
        self._manifest.write_bytes(to_manifest(files))

    # --- where they come from ---

    def _bring(self) -> None:
        started = time.monotonic()
        try:
            files = self._from_bucket()
            place = "bucket" if files else "hub"
            files = files or self._from_hub()
        except OSError as error:
            raise ModelError(f"the weights cannot be written to this machine's disk: {error}") from error
        seconds = round(time.monotonic() - started, 3)
        self._log.info("weights_ready", source=place, bytes=total_bytes(files), seconds=seconds)

    def _from_bucket(self) -> tuple[ModelFile, ...] | None:
        """None where the bucket has no copy, or one that is damaged."""
        try:
            files = self._mirror.files()
        except StorageError as error:
            raise ModelError(f"the bucket cannot be asked for weights: {error}", is_final=False) from error
        if files is None:
            return None
        self._log.info("weights_wanted", source="bucket", weights=self.source.weights, bytes=total_bytes(files))
        self._make_room(files)
        try:
            self._mirror.fetch(files, self._part)
        except DamagedMirrorError as error:
            self._log.warning("mirror_damaged", error=str(error))
            return None
        self._settle(files)
        return files

    def _from_hub(self) -> tuple[ModelFile, ...]:
        hub = self._hub()
        wanted = hub.files()
        self._log.info("weights_wanted", source="hub", weights=self.source.weights, bytes=total_bytes(wanted))
        self._make_room(wanted)
        files = hub.fetch(wanted, self._part)
        self._settle(files)
        try:
            self._mirror.keep(files, self._path)
        except (StorageError, OSError) as error:  # the next machine asks the hub again, and this one can work
            self._log.warning("weights_not_mirrored", error=str(error))
        return files


def _anew(error: ModelError) -> ModelError:
    """The same without its traceback, whose frames hold what the callers held: the bytes of their images."""
    return ModelError(str(error), is_final=error.is_final)
