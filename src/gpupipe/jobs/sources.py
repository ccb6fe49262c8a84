"""One input, on disk or inside a zip archive: its path below the project, and its bytes exactly as they were listed."""

from __future__ import annotations

import errno
import os
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

from gpupipe.errors import InputError

_TYPES: Mapping[str, tuple[str, ...]] = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/webp": (".webp",),
    "image/tiff": (".tif", ".tiff"),
    "image/x-adobe-dng": (".dng",),
    "image/bmp": (".bmp",),
    "image/jp2": (".jp2", ".j2k", ".jpx"),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif"),
    "application/zip": (".zip",),
}
CONTENT_TYPES = {suffix: media_type for media_type, suffixes in _TYPES.items() for suffix in suffixes}
_IMAGE_SUFFIXES = frozenset(CONTENT_TYPES) - {".zip"}

_BEGINNINGS: Mapping[str, tuple[bytes, ...]] = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "image/jp2": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
}
"""How a file of each type begins, where that is all there is to it."""
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Sizes of the header that follows BMP's first; `BM` alone is how many a text begins."""
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})

_START_BYTES = 64
"""With room for the brands of a HEIC."""


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
            return bool(image_type(opened.read(_START_BYTES)))
    except OSError:
        return False


def image_type(start: bytes) -> str:
    """Content type of an image that begins so; "" for what is none that we know."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if start[4:8] == b"ftyp":
        return _type_by_brands(start)
    return next((name for name, beginnings in _BEGINNINGS.items() if start.startswith(beginnings)), "")


def _type_by_brands(start: bytes) -> str:
    """Of an ISO base media file, by the brands in its first box."""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end - 3, 4))}
    return "image/avif" if brands & _AVIF_BRANDS else "image/heic" if brands & _HEIC_BRANDS else ""


def found_type(file: Input) -> str:
    """Content type by what a file holds, or else by its name. Raises InputError where it cannot be opened."""
    return image_type(start_of(file)) or content_type(file.path)


def start_of(file: Input) -> bytes:
    """The first bytes of a file. Raises InputError where it cannot be opened."""
    with file.open() as opened:
        return opened.read(_START_BYTES)


def require_image(file: LocalFile) -> None:
    """Raise InputError unless the content is that of an image that we know, be it another than its name says.

    A name that no image has is for its task to judge.
    """
    suffix = os.path.splitext(file.relative)[1].lower()
    start = start_of(file)
    if suffix in _IMAGE_SUFFIXES and not image_type(start):
        what = "it is empty" if not start else f"its content is not that of a {suffix} file, nor of another image"
        raise InputError(f"{file} is not an image: {what}.", hint="Leave it out, or export it again.")
