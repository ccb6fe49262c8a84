"""One input, on disk or inside a zip archive: its path below the project, and its bytes exactly as they were listed."""

from __future__ import annotations

import errno
import os
import unicodedata
import zipfile
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

from gpupipe.errors import InputError

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".zip": "application/zip",
}

# How a file of each type begins; a type that is not here is taken at its name.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC: dict[str, tuple[bytes, ...]] = {
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".webp": (b"RIFF",),
    ".tif": _TIFF,
    ".tiff": _TIFF,
}


_START_BYTES = 12


class Input(Protocol):
    """What is listed, fingerprinted and uploaded."""

    @property
    def path(self) -> str:
        """Below the project, `/`-separated, in Unicode's composed form (NFC).

        macOS writes "ä" as two characters where other systems write one; composed, the same folder gives the same
        keys from any machine, and COCO's `file_name` equals what people type.
        """

    @property
    def size(self) -> int: ...

    @property
    def stamp(self) -> int:
        """Changes when the content does: time of modification in nanoseconds, or the archive's CRC-32."""

    def open(self) -> BinaryIO: ...

    def check(self, opened: BinaryIO) -> None: ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine. Positional, and split into folder and rest: a million of them must fit into memory."""

    folder: str
    relative: str
    size: int
    stamp: int

    @property
    def path(self) -> str:
        return composed(self.relative)

    @property
    def place(self) -> str:
        """Where it is on this machine."""
        return os.path.join(self.folder, self.relative)

    def open(self) -> BinaryIO:
        try:
            return open(self.place, "rb", buffering=0, opener=self._opener)
        except FileNotFoundError as error:
            raise InputError(
                f"{self} is not there any more.", hint="Submit again with the files as they are."
            ) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._changed() from error
            raise InputError(f"cannot open {self}: {error.strerror}.", hint="Check its permissions.") from error

    @staticmethod
    def _opener(place: str, flags: int) -> int:
        """It was no link when it was found."""
        return os.open(place, flags | os.O_NOFOLLOW)

    def check(self, opened: BinaryIO) -> None:
        found = os.fstat(opened.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.stamp):
            raise self._changed()

    def _changed(self) -> InputError:
        return InputError(
            f"{self} was changed after it was listed.", hint="Submit again once nothing writes to the folder."
        )

    def __str__(self) -> str:
        return shown(self.place)


@dataclass(frozen=True, slots=True)
class LinkedFile(LocalFile):
    """A file that is reached by a link, and must be the same one when it is read."""

    identity: tuple[int, int]
    """Device and inode."""

    @staticmethod
    def _opener(place: str, flags: int) -> int:
        return os.open(place, flags)

    def check(self, opened: BinaryIO) -> None:
        LocalFile.check(self, opened)
        found = os.fstat(opened.fileno())
        if (found.st_dev, found.st_ino) != self.identity:
            raise self._changed()


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of an open archive. Reading it to its end checks its CRC-32, which zipfile does."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: str

    @property
    def size(self) -> int:
        return self.info.file_size

    @property
    def stamp(self) -> int:
        return self.info.CRC

    def open(self) -> BinaryIO:
        try:
            return cast(BinaryIO, self.archive.open(self.info))
        except (OSError, RuntimeError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"cannot read {self}: {error}.", hint="Make the archive again, and submit it.") from error

    def check(self, opened: BinaryIO) -> None:
        """Nothing to do: the archive stays open, and the CRC is checked."""

    def __str__(self) -> str:
        return f"{shown(str(self.archive.filename))}:{shown(self.path)}"


def composed(path: str) -> str:
    """`path` in NFC."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def shown(name: str) -> str:
    """A file name that any terminal can print."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)


def content_type(path: str) -> str:
    return CONTENT_TYPES.get(os.path.splitext(path)[1].lower(), "application/octet-stream")


def is_image(place: str) -> bool:
    """Does the content of a file begin as that of any image that we know? Its name does not matter."""
    try:
        with open(place, "rb", buffering=0) as opened:
            start = opened.read(_START_BYTES)
    except OSError:
        return False
    return any(_begins(start, suffix) for suffix in _MAGIC)


def _begins(start: bytes, suffix: str) -> bool:
    return start.startswith(_MAGIC.get(suffix, (b"",))) and (suffix != ".webp" or start[8:12] == b"WEBP")


def require_image(file: LocalFile) -> None:
    """Raise InputError unless the content is what the name says."""
    suffix = os.path.splitext(file.relative)[1].lower()
    with file.open() as opened:
        start = opened.read(_START_BYTES)
    if not _begins(start, suffix):
        what = "it is empty" if not start else f"its content is not that of a {suffix} file"
        raise InputError(f"{file} is not an image: {what}.", hint="Leave it out, or export it again.")
