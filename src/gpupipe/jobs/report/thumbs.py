"""The small pictures of the gallery, fetched once and kept under their checksum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpupipe.jobs import transfer
from gpupipe.jobs.folder import portable
from gpupipe.jobs.report.summary import Card
from gpuworker.contract import Artifact


class Thumbs:
    """A folder of thumbnails: those of the present gallery, nothing else."""

    def __init__(self, store: transfer.Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def of(self, gallery: Sequence[Card]) -> dict[str, Path]:
        """The picture of each card that has one, by its checksum; a lost one is left out, for a page can do without."""
        wanted = {card.thumb.sha256: card.thumb for card in gallery if card.thumb is not None}
        missing = [self._download(thumb) for sha256, thumb in wanted.items() if not self._path(sha256).is_file()]
        for _, problem in transfer.download(self._store, missing):
            if problem is not None and not transfer.is_lost(problem):
                raise problem
        for path in self._folder.glob("*.jpg"):
            if path.stem not in wanted:
                path.unlink(missing_ok=True)
        return {sha256: self._path(sha256) for sha256 in wanted if self._path(sha256).is_file()}

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{portable(sha256)}.jpg"

    def _download(self, thumb: Artifact) -> transfer.Download:
        return transfer.Download(
            key=thumb.key,
            target=self._path(thumb.sha256),
            size=thumb.size,
            sha256=thumb.sha256,
            version_id=thumb.version_id,
        )
