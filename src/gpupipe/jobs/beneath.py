"""Files below a folder that are reached through real folders only, whoever has put a link among them, and when.

A results folder may lie where others write, or have come from somebody else: a link in the place of an item's folder
would have results written over files elsewhere. Parents are opened one by one, each from the one above it, so a folder
that is exchanged for a link between the look and the writing changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gpupipe.errors import GpupipeError

_REAL = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Beneath:
    """The way down from `root`, which may itself be a link: the person has named it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: Path | None = None

    def require_real(self, folder: Path) -> None:
        """Raise GpupipeError where one of the folders from the root down to `folder` is a link, or no folder.

        What is not there yet is no fault.
        """
        if folder == self._checked:
            return  # an item's files come one after another
        for path in self._way(folder):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise _refused(path, self.root)
        self._checked = folder

    def replace(self, part: str, target: Path) -> None:
        """Move a whole file to its place, with the folders that it needs; a link there is replaced, not followed."""
        with self._opened(target.parent) as folder:
            os.replace(part, target.name, dst_dir_fd=folder)

    def unlink(self, target: Path) -> None:
        """Remove a file, or the link in its place."""
        with self._opened(target.parent) as folder:
            os.unlink(target.name, dir_fd=folder)

    def _way(self, folder: Path) -> Iterator[Path]:
        path = self.root
        for name in folder.relative_to(self.root).parts:
            path = path / name
            yield path

    @contextlib.contextmanager
    def _opened(self, folder: Path) -> Iterator[int]:
        """A descriptor of a folder below the root, made where it is not there."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path in self._way(folder):
                above, descriptor = descriptor, self._step(descriptor, path)
                os.close(above)
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, above: int, path: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._entered(above, path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, dir_fd=above)
        return self._entered(above, path)

    def _entered(self, above: int, path: Path) -> int:
        try:
            return os.open(path.name, _REAL, dir_fd=above)
        except FileNotFoundError:
            raise
        except OSError as error:  # ELOOP or ENOTDIR, as the system likes
            if path.is_symlink() or not path.is_dir():
                raise _refused(path, self.root) from error
            raise


def require_no_links(folder: Path) -> None:
    """Raise GpupipeError where a folder of ours, or one inside it, is a link."""
    if folder.is_symlink():
        raise _refused(folder, folder.parent)
    for at, folders, _ in os.walk(folder):
        for name in folders:
            if (path := Path(at, name)).is_symlink():
                raise _refused(path, folder.parent)


def _refused(path: Path, root: Path) -> GpupipeError:
    what = f"is a link to {os.readlink(path)}" if path.is_symlink() else "is not a folder"
    return GpupipeError(
        f"{path} {what}: results are written into real folders below {root} only.",
        hint="Remove it, or choose another folder with -o; what is here already is kept.",
    )
