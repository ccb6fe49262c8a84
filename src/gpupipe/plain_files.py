"""Files that somebody else may have put in their place: read without following a link or waiting for a pipe."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain(file: Path, *, limit_bytes: int) -> bytes:
    """The beginning of a file, up to so many bytes. Raises OSError, also for a link, a pipe or a device."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a file")
        return opened.read(limit_bytes)
