"""Links in what is submitted: those that stay inside, or lead to an image, are followed; the others are named.

Folders of links are honest (git-annex, DVC and photo managers make them), and a folder that came from somebody else may
hold `plan.jpg -> ~/.ssh/id_ed25519`, which nobody wants in a bucket.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field

from gpupipe.jobs.sources import LinkedFile, is_image, shown

LINK, OUTSIDE = "link", "link to what is no image"
NAMED_MAX = 100
"""So many are remembered by name; all are counted."""


@dataclass(kw_only=True)
class Links:
    """The rule for one submission, and what it left out."""

    follow: bool = True
    """False: no link found by searching is followed."""
    left_out: list[str] = field(default_factory=list)
    """`place -> target` of those that were passed over."""

    def why_not(self, place: str, root: str) -> str:
        """Why a linked file below the folder `root` is passed over; "" where it is taken."""
        if not self.follow:
            return self._left_out(place, LINK)
        if leads_outside(place, root) and not is_image(place):
            return self._left_out(place, OUTSIDE)
        return ""

    def why_no_folder(self, place: str) -> str:
        """Why a linked folder is not searched; "" where it is."""
        return "" if self.follow else self._left_out(place, LINK)

    def leave_out(self, place: str) -> str:
        """Note a link to what is no image, and no input either."""
        return self._left_out(place, OUTSIDE if self.follow else LINK)

    def _left_out(self, place: str, reason: str) -> str:
        if len(self.left_out) < NAMED_MAX:
            self.left_out.append(f"{shown(place)} -> {shown(os.path.realpath(place))}")
        return reason


def leads_outside(place: str, root: str) -> bool:
    """Does a path, with all links on its way, end outside of a folder?"""
    return not os.path.realpath(place).startswith(_inside(root, os.getcwd()))


@functools.lru_cache(maxsize=16)
def _inside(root: str, _here: str) -> str:
    """How the real path of everything below a folder begins; looked up once for a folder of a million links."""
    return os.path.join(os.path.realpath(root), "")


def linked(folder: str, relative: str, found: os.stat_result) -> LinkedFile:
    """A file that a link leads to, as it was found: the link may lead elsewhere by the time it is read."""
    return LinkedFile(folder, relative, found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino))
