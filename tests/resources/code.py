"""A function's code as bytes."""

from __future__ import annotations

import io
import zipfile


def zipped(source: str) -> bytes:
    """A zip with `guard.py`; equal sources give equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("guard.py", date_time=(2026, 1, 1, 0, 0, 0)), source)
    return content.getvalue()
