"""report.html: one page about a job, complete in itself: no file, font, script or address outside it.

`page.html` is the template, `page.css` and `page.js` are written into it. The page forbids itself to load or run
anything but these two (by their hashes) and pictures that it carries: what a file name or a failure message says can
only ever be shown.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gpupipe.jobs.folder import replacing
from gpupipe.jobs.report.about import About
from gpupipe.jobs.report.summary import Card, Summary
from gpupipe.jobs.report.view import filters, view

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["About", "Card", "Summary", "write_report"]


def write_report(
    path: Path, summary: Summary, about: About, *, gallery: Sequence[Card], pictures: Mapping[str, Path]
) -> None:
    """Write the page. `pictures`: file of a thumbnail by its checksum; cards without one get a sign instead."""
    style, script = _part("page.css"), _part("page.js")
    page = _template().stream(
        **view(summary, about, gallery),
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        picture=lambda card: _data_uri(pictures.get(card.thumb.sha256)) if card.thumb else "",
    )
    with replacing(path) as opened:
        for piece in page:
            opened.write(piece.encode())


@cache
def _template() -> Template:
    # Imported here: the command line answers --help without it.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters())
    return environment.from_string(_part("page.html"))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a Content-Security-Policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data_uri(path: Path | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}" if path is not None else ""
