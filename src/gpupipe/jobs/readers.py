"""What a worker needs to read some images, and this installation may lack: said before anything is uploaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from gpupipe.errors import InputError
from gpupipe.jobs.sources import CONTENT_TYPES, Input, image_type, start_of
from gpuworker.contract import install_command

_HEIC = "image/heic"
_SHOWN = 5


def require_readers(files: Sequence[Input], *, here: bool) -> None:
    """Raise InputError where some of the files are HEIC, the worker runs `here`, and pillow-heif is not installed.

    By their content, or by their name where it says nothing. On AWS the worker's image has what it needs.
    """
    if not here or importlib.util.find_spec("pillow_heif") is not None:
        return
    found = [file for file in files if _is_heic(file)]
    if found:
        names = ", ".join(map(str, found[:_SHOWN]))
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise InputError(
            f"the local worker cannot read HEIC without pillow-heif: {names}{more}.",
            hint=f"Install it with: {install_command('heif')}, or leave these files out.",
        )


def _is_heic(file: Input) -> bool:
    name = CONTENT_TYPES.get(os.path.splitext(file.path)[1].lower())
    return (image_type(start_of(file)) or name) == _HEIC
