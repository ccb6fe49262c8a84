"""Zip archives as inputs: read where they are, member by member; what an archive must not do is refused."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable

from gpupipe.errors import InputError
from gpupipe.jobs.passed_over import NOT_A_FILE, PassedOver
from gpupipe.jobs.sources import ZipMember, composed, shown

GIB = 1024**3
MAX_RATIO = 200
"""A larger archive that unpacks to more than so many times its size is a bomb: photographs hardly shrink, and even
raw TIFF with wide borders stays below a tenth of this."""
BOMB_FROM_BYTES = GIB

SkipReason = Callable[[str], str]

_ENCRYPTED, _UTF8_NAME = 0x1, 0x800
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


def open_archive(place: str) -> zipfile.ZipFile:
    """The archive, refused as a whole where it is damaged, encrypted or a bomb. Raises InputError."""
    try:
        archive = zipfile.ZipFile(place)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"cannot read the archive {shown(place)}: {error}.", hint="Make or copy it again.") from error
    _refuse_bomb(archive)
    return archive


def _refuse_bomb(archive: zipfile.ZipFile) -> None:
    packed = os.path.getsize(str(archive.filename))
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > BOMB_FROM_BYTES and unpacked > MAX_RATIO * packed:
        raise InputError(
            f"{shown(str(archive.filename))} would unpack to {unpacked / GIB:,.0f} GiB, {unpacked // packed:,} times "
            "its size: that looks like an attack.",
            hint="Unpack it yourself if you trust it, and submit the folder.",
        )


def paths_in(archive: zipfile.ZipFile) -> list[str]:
    """Of everything in an archive but folders. Raises InputError where one leads out of it."""
    return [_path(archive, info) for info in archive.infolist() if not info.is_dir()]


def members(archive: zipfile.ZipFile, passed: PassedOver, reason: SkipReason) -> list[ZipMember]:
    """The inputs in an archive. `reason` says why a path is passed over ("" for an input), as `passed` keeps it."""
    found = []
    for info in archive.infolist():
        if info.is_dir():
            continue
        path = _path(archive, info)
        why = reason(path) or (NOT_A_FILE if _is_special(info) else "")
        if why:
            passed.add(why, f"{shown(str(archive.filename))}:{shown(path)}")
            continue
        _require_readable(archive, info, path)
        found.append(ZipMember(archive, info, path))
    return found


def _path(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """The member's path, safe to be part of a key."""
    name = _decoded(info).replace("\\", "/")
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise InputError(
            f"{shown(str(archive.filename))} holds the path {shown(name)!r}, which leads out of the archive.",
            hint="An archive from a trustworthy program has no such path: unpack it yourself and look.",
        )
    return composed("/".join(part for part in parts if part not in ("", ".")))


def _decoded(info: zipfile.ZipInfo) -> str:
    # macOS and many scripts write UTF-8 without saying so; zipfile then reads it as the old PC code page.
    if info.flag_bits & _UTF8_NAME or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _is_special(info: zipfile.ZipInfo) -> bool:
    """A symbolic link or a device, which an archive made on Unix can hold."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in (0, stat.S_IFREG)


def _require_readable(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> None:
    name = f"{shown(str(archive.filename))}:{shown(path)}"
    if info.flag_bits & _ENCRYPTED:
        raise InputError(f"{name} is encrypted.", hint="Unpack the archive with its password, and submit the folder.")
    if info.compress_type not in _METHODS:
        raise InputError(
            f"{name} is compressed by a method that Python cannot read ({info.compress_type}).",
            hint="Unpack the archive and submit the folder, or pack it with the method deflate.",
        )
